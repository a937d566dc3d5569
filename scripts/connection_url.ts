/** Finds the address of the server that a program works on. */

export {
  connectionUrl,
  type UrlSource,
  urlVariable,
} from "../src/cli/connection_url.ts";

/** The options of an address, for `parseArguments`. */
export const urlOptions = {
  url: { type: "string" },
  "url-file": { type: "string" },
} as const;

/** Describes these options in a program's usage. */
export const urlUsage = `
  --url URL        postgresql://user@host:port/database; its password from
                   PGPASSWORD, or from PGPASSFILE or ~/.pgpass, as psql has it
  --url -          the same, with or without a password, from standard input
  --url-file FILE  the same from a file that only you can read`.slice(1);
