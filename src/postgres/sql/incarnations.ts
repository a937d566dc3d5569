/**
 * Which stream of an id a row of our own tables is about.
 *
 * A node may delete a stream and create it again under the same id, and does
 * not know our tables. Their rows are then about a stream that is gone: the
 * SHA-256 of other bytes, the age of another upload. So each row names the
 * *incarnation* that it is about, and counts only while `es` has that one.
 *
 * The incarnation is a column of `es` that no statement of a node names. Its
 * default gives every inserted row a random value, and no UPDATE changes it.
 * Deleting a stream takes no further work. The alternatives fail:
 *
 * - `xmin` and `ctid` change with every UPDATE of the row, and a promoted
 *   server uses numbers of transactions again.
 * - A sequence needs a permission of its own. After a promotion, or in a copy
 *   made by logical replication, it returns numbers again.
 * - The time of the insertion repeats when a clock is set back.
 * - A trigger on `es` runs with the permissions of the role that deletes, so a
 *   node's role would need ours. A disabled trigger, or one on a replica, does
 *   not run.
 * - A foreign key with ON DELETE CASCADE refuses the node's own DROP TABLE of
 *   `es`. Every row of ours would also lock a row of `es`, and the minipool
 *   cache relies on that row's last locker.
 *
 * Rows of `es` that are older than the column have no incarnation, and neither
 * have the rows about them: NULL is one more value here. Two tables need no
 * incarnation. A row of `stream_storage_deletions` is about no stream, and is
 * void as soon as there is one. A row of `stream_storage_media_changes` is
 * about requests for an object by its name, whichever stream they were for.
 */

import type { StreamTables } from "../catalog.ts";

/** The incarnation of stream $1; NULL also if there is no such stream. */
export const incarnationOf = (t: StreamTables): string =>
  `(SELECT stream_storage_incarnation FROM ${t.streams} WHERE stream_id = $1)`;

/** Whether our row `own` is about the present stream, whose row is `es`. */
export const isAbout = (own: string, es = "es"): string =>
  `${own}.incarnation IS NOT DISTINCT FROM ${es}.stream_storage_incarnation`;

/** Whether there is a present stream that our row `own` is about. */
export const isPresent = (t: StreamTables, own: string): string =>
  `EXISTS (SELECT FROM ${t.streams} AS es
    WHERE es.stream_id = ${own}.stream_id AND ${isAbout(own)})`;
