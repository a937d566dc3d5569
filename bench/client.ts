import { searchPath } from "../src/database/search_path.ts";

/**
 * Options for a client of `pg`. The search path keeps it from running functions
 * that other users of the server have made.
 */
export function clientOptions(
  url: string,
): { connectionString: string; options: string } {
  const path = searchPath.replaceAll(" ", "");
  return { connectionString: url, options: `-c search_path=${path}` };
}
