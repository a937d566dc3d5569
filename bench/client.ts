import { searchPath } from "../src/database/search_path.ts";

/** What a client of pg's is made of: on a server of somebody's own, too, it runs
 * nothing that another user has made. */
export function clientOptions(
  url: string,
): { connectionString: string; options: string } {
  const path = searchPath.replaceAll(" ", "");
  return { connectionString: url, options: `-c search_path=${path}` };
}
