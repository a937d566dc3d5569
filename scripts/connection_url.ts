/** The address of a server, for programs of ours that need one. */

export {
  connectionUrl,
  type UrlSource,
  urlVariable,
} from "../src/cli/connection_url.ts";

/** For `parseArguments`. */
export const urlOptions = {
  url: { type: "string" },
  "url-file": { type: "string" },
} as const;

/** Of these options, for a program's usage. */
export const urlUsage = `
  --url URL        postgresql://user@host:port/database; its password from
                   PGPASSWORD, or from PGPASSFILE or ~/.pgpass, as psql has it
  --url -          the same, with or without a password, from standard input
  --url-file FILE  the same from a file that only you can read`.slice(1);
