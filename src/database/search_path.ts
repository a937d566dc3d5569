/**
 * Whose operators, functions and types a statement means.
 *
 * The server looks a name up in the schemas of `search_path`: by default that of
 * the role's name, then `public`, where others may create. pg_catalog is looked in
 * first, but only an operator or a function of exactly the given types wins there;
 * where there is none (`varchar = varchar` is none), one that somebody made
 * outside is taken, and runs with the rights of our role. So there are two walls,
 * and each holds alone:
 *
 * - Every session looks into pg_catalog only: ours from their start, a lasting one
 *   once it is known to be ours, transactions behind a pooler by their first
 *   statement, migrations at their BEGIN. Temporary objects come last: unless they
 *   are named the server looks for tables and types there first.
 * - No statement depends on that, because a pooler may drop what a session asks for
 *   at its start. Functions and types are named with their schema or are the
 *   grammar's own (`coalesce`, `bigint`); operators fit their operands exactly, or
 *   are named with their schema, too: those of arrays, which are polymorphic.
 *   What runs before the path is set has no operators at all.
 *
 * tests/database/search_path_test.ts attacks both.
 */

import { statement } from "./statement.ts";

/** pg_catalog first, what is temporary last, and nothing else. */
export const searchPath = "pg_catalog, pg_temp";

/** Sets it for the session: only for one that no other client will get. */
export const setSearchPath = statement({
  text: `SELECT pg_catalog.set_config('search_path', '${searchPath}', false)`,
  columns: ["text"],
  once: true,
});
