/**
 * Which stream of an id a row of our own tables is about.
 *
 * A node deletes a stream and makes it again under the same id, and knows none
 * of our tables. What they say is then about a stream that is gone: the SHA-256
 * of other bytes, the age of another upload. So each row names the *incarnation*
 * that it is about, and counts only while `es` has that one.
 *
 * The incarnation is a column of `es` that no statement of a node names: its
 * default gives every row that is inserted, by whomever, a random value, and no
 * UPDATE changes it. Nothing is to be done when a stream is deleted. Other ways
 * were looked at:
 *
 * - `xmin` and `ctid` change with every UPDATE of the row, and numbers of
 *   transactions are given out again after a promotion.
 * - A sequence needs a right of its own to be used, and after a promotion, or in
 *   a copy made by logical replication, gives out numbers again.
 * - The time of the insertion comes twice when a clock is set back.
 * - A trigger on `es` runs with the rights of whoever deletes: a node's role
 *   would need ours. Disabled, or in a replica, it does not run at all.
 * - A foreign key with ON DELETE CASCADE refuses the node's own DROP TABLE of
 *   `es`, and every row of ours would lock one there, whose last locker the
 *   minipool cache relies on.
 *
 * Rows of `es` that were there before the column have none, and what was written
 * about them has none either: NULL is one more value here. Two tables need no
 * incarnation. `stream_storage_deletions` is about rows of no stream, and void as
 * soon as there is one. `stream_storage_media_changes` is about requests for an
 * object by its name, whichever stream it was for.
 */

import type { StreamTables } from "../catalog.ts";

/** The incarnation of stream $1; NULL also if there is none. */
export const incarnationOf = (t: StreamTables): string =>
  `(SELECT stream_storage_incarnation FROM ${t.streams} WHERE stream_id = $1)`;

/** Whether the row `own` of ours is about the present stream, the row `es`. */
export const isAbout = (own: string, es = "es"): string =>
  `${own}.incarnation IS NOT DISTINCT FROM ${es}.stream_storage_incarnation`;

/** The same where the row of the stream is not at hand: whether there is one. */
export const isPresent = (t: StreamTables, own: string): string =>
  `EXISTS (SELECT FROM ${t.streams} AS es
    WHERE es.stream_id = ${own}.stream_id AND ${isAbout(own)})`;
