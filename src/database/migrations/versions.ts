/** The migrations that there are, in order. */

import down6 from "../../../migrations/0006_streams.down.sql" with {
  type: "text",
};
import up6 from "../../../migrations/0006_streams.up.sql" with { type: "text" };
import down7 from "../../../migrations/0007_ephemeral.down.sql" with {
  type: "text",
};
import up7 from "../../../migrations/0007_ephemeral.up.sql" with {
  type: "text",
};
import down8 from "../../../migrations/0008_snapshots.down.sql" with {
  type: "text",
};
import up8 from "../../../migrations/0008_snapshots.up.sql" with {
  type: "text",
};
import down9 from "../../../migrations/0009_blockdata_ext.down.sql" with {
  type: "text",
};
import up9 from "../../../migrations/0009_blockdata_ext.up.sql" with {
  type: "text",
};
import ownDown1 from "../../../migrations/own/0001_ephemeral_age.down.sql" with {
  type: "text",
};
import ownUp1 from "../../../migrations/own/0001_ephemeral_age.up.sql" with {
  type: "text",
};
import prepare from "../../../migrations/prepare.sql" with { type: "text" };

/**
 * Which numbering a migration belongs to: the nodes' (`schema_migrations`) or
 * our own (`stream_storage_migrations`).
 */
export type MigrationTrack = "node" | "own";

/** One version's way up and down. */
export interface Migration {
  track: MigrationTrack;
  version: number;
  up: string;
  down: string;
  /** How many partition suffixes one transaction takes; may be infinite. */
  suffixesPerTransaction: number;
}

/** Run before the first version; idempotent. */
export const prepareSql: string = prepare;

/**
 * How many partition suffixes share a transaction where each one costs many
 * locks.
 *
 * Measured on PostgreSQL 15 and 18: a partition table of version 6 takes 4
 * locks (table, TOAST table, the index of each) and more to drop, so 256
 * partitions take 6144 of the about 7800 that a default server has for all its
 * sessions; dropping them in one transaction fails for want of shared memory.
 * 32 suffixes take 384. Version 8 takes 1 lock a table, version 9 takes 2.
 */
export const suffixesPerBatch = 32;

/** The nodes' versions. */
export const nodeMigrations: readonly Migration[] = [
  nodeMigration(6, up6, down6, suffixesPerBatch),
  nodeMigration(7, up7, down7),
  nodeMigration(8, up8, down8),
  nodeMigration(9, up9, down9),
];

/** Our own versions. */
export const ownMigrations: readonly Migration[] = [{
  track: "own",
  version: 1,
  up: ownUp1,
  down: ownDown1,
  suffixesPerTransaction: Infinity,
}];

/** The first version whose layout we know; 1 to 5 are folded into it. */
export const firstVersion = 6;

/** The version that this module works on. */
export const currentVersion = 9;

/** The most partitions that two hex digits can name. */
export const maxPartitions = 256;

/** The version of our own track that this module works on. */
export const currentOwnVersion = 1;

function nodeMigration(
  version: number,
  up: string,
  down: string,
  suffixesPerTransaction = Infinity,
): Migration {
  return { track: "node", version, up, down, suffixesPerTransaction };
}
