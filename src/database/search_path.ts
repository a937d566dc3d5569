/**
 * Which operators, functions and types a statement uses.
 *
 * The server looks up a name in the schemas of `search_path`: by default the
 * schema with the role's name, then `public`, where others may create objects.
 * It searches pg_catalog first, but there only an operator or a function with
 * exactly the given types wins. If there is none (such as `varchar = varchar`),
 * it takes one that somebody created elsewhere, and runs it with our role's
 * rights. So there are two defences, each of which suffices:
 *
 * - Every session searches pg_catalog only: ours from their start, a lasting
 *   one once it is known to be ours, transactions behind a pooler by their
 *   first statement, migrations at their BEGIN. Temporary objects come last:
 *   unless the path names them, the server looks there first for tables and
 *   types.
 * - No statement depends on the path, because a pooler may drop what a startup
 *   requests. Functions and types are named with their schema or belong to the
 *   grammar (`coalesce`, `bigint`). Operators fit their operands exactly, or
 *   are named with their schema, like the polymorphic ones of arrays. What runs
 *   before the path is set has no operators.
 *
 * tests/database/search_path_test.ts attacks both.
 */

import { statement } from "./statement.ts";

/** pg_catalog first, temporary objects last, and nothing else. */
export const searchPath = "pg_catalog, pg_temp";

/** Sets the path for a session that no other client will get. */
export const setSearchPath = statement({
  text: `SELECT pg_catalog.set_config('search_path', '${searchPath}', false)`,
  columns: ["text"],
  once: true,
});
