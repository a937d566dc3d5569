/** The migrations, in order. */

import type { MigrationTrack } from "./numbers.ts";
import { templates } from "./templates.ts";

/** One version's way up and down. */
export interface Migration {
  track: MigrationTrack;
  version: number;
  up: string;
  down: string;
  /** How many partition suffixes share a transaction; may be infinite. */
  suffixesPerTransaction: number;
}

/** The common prefix of a version's two file names. */
type MigrationFiles = FilesOf<keyof typeof templates>;
type FilesOf<Name> = Name extends `${infer Files}.up.sql` ? Files : never;

/** Runs before the first version; idempotent. */
export const prepareSql: string = templates["prepare.sql"];

/**
 * How many partition suffixes share a transaction if each one needs many locks.
 * Every table, TOAST table and index takes a lock until COMMIT, in a table that
 * all sessions of the server share (about 7800 by default, fewer with fewer
 * connections).
 *
 * Measured on PostgreSQL 15 and 18, version 6: 16 suffixes take 300 locks to
 * create and up to 510 to drop, so all 512 at once would take the whole table.
 * Our version 4 would take 3080 (on 18). The others are one transaction even
 * with 512 suffixes: version 8 takes 1030 locks, version 9 takes 780, and 2320
 * on its way down.
 */
export const suffixesPerBatch = 16;

/** The nodes' versions. */
export const nodeMigrations: readonly Migration[] = [
  migration("node", "0006_streams", suffixesPerBatch),
  migration("node", "0007_ephemeral"),
  migration("node", "0008_snapshots"),
  migration("node", "0009_blockdata_ext"),
];

/** Our own versions. */
export const ownMigrations: readonly Migration[] = [
  migration("own", "own/0001_ephemeral_age"),
  migration("own", "own/0002_trimming"),
  migration("own", "own/0003_media"),
  migration("own", "own/0004_inline_values", suffixesPerBatch),
  migration("own", "own/0005_media_changes"),
  migration("own", "own/0006_replica_identity"),
  migration("own", "own/0007_deletions"),
  migration("own", "own/0008_incarnations"),
  migration("own", "own/0009_notification_channel"),
];

/** The version is the number at the start of its files' names. */
function migration(
  track: MigrationTrack,
  files: MigrationFiles,
  suffixesPerTransaction = Infinity,
): Migration {
  return {
    track,
    version: parseInt(files.replace("own/", ""), 10),
    up: templates[`${files}.up.sql`],
    down: templates[`${files}.down.sql`],
    suffixesPerTransaction,
  };
}
