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
import ownDown2 from "../../../migrations/own/0002_trimming.down.sql" with {
  type: "text",
};
import ownUp2 from "../../../migrations/own/0002_trimming.up.sql" with {
  type: "text",
};
import ownDown3 from "../../../migrations/own/0003_media.down.sql" with {
  type: "text",
};
import ownUp3 from "../../../migrations/own/0003_media.up.sql" with {
  type: "text",
};
import ownDown4 from "../../../migrations/own/0004_inline_values.down.sql" with {
  type: "text",
};
import ownUp4 from "../../../migrations/own/0004_inline_values.up.sql" with {
  type: "text",
};
import ownDown5 from "../../../migrations/own/0005_media_changes.down.sql" with {
  type: "text",
};
import ownUp5 from "../../../migrations/own/0005_media_changes.up.sql" with {
  type: "text",
};
import ownDown6 from "../../../migrations/own/0006_replica_identity.down.sql" with {
  type: "text",
};
import ownUp6 from "../../../migrations/own/0006_replica_identity.up.sql" with {
  type: "text",
};
import ownDown7 from "../../../migrations/own/0007_deletions.down.sql" with {
  type: "text",
};
import ownUp7 from "../../../migrations/own/0007_deletions.up.sql" with {
  type: "text",
};
import prepare from "../../../migrations/prepare.sql" with { type: "text" };

/**
 * Which numbering a migration belongs to: the nodes' (`schema_migrations`) or
 * our own (`stream_storage_migrations`).
 */
export type MigrationTrack = "node" | "own";

/** How far each track is, or is to be; 0 is nothing. */
export type TrackVersions = Readonly<Record<MigrationTrack, number>>;

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
 * locks: every table, TOAST table and index is one, and they are kept until
 * COMMIT in a table that all sessions of the server share (about 7800 by
 * default, fewer with fewer connections).
 *
 * Measured on PostgreSQL 15 and 18, version 6: 16 suffixes take 300 locks to
 * make and up to 510 to drop, so all 512 at once would take the whole table.
 * Our version 4 would take 3080 (on 18). The others are one transaction even with
 * 512 suffixes: version 8 takes 1030 locks, version 9 takes 780, and 2320 on its
 * way down.
 */
export const suffixesPerBatch = 16;

/** The nodes' versions. */
export const nodeMigrations: readonly Migration[] = [
  nodeMigration(6, up6, down6, suffixesPerBatch),
  nodeMigration(7, up7, down7),
  nodeMigration(8, up8, down8),
  nodeMigration(9, up9, down9),
];

/** Our own versions. */
export const ownMigrations: readonly Migration[] = [
  ownMigration(1, ownUp1, ownDown1),
  ownMigration(2, ownUp2, ownDown2),
  ownMigration(3, ownUp3, ownDown3),
  ownMigration(4, ownUp4, ownDown4, suffixesPerBatch),
  ownMigration(5, ownUp5, ownDown5),
  ownMigration(6, ownUp6, ownDown6),
  ownMigration(7, ownUp7, ownDown7),
];

/** The first version whose layout we know; 1 to 5 are folded into it. */
export const firstVersion = 6;

/** The versions that this module works on. */
export const currentVersions: TrackVersions = { node: 9, own: 7 };

/** The most partitions that two hex digits can name. */
export const maxPartitions = 256;

function nodeMigration(
  version: number,
  up: string,
  down: string,
  suffixesPerTransaction = Infinity,
): Migration {
  return { track: "node", version, up, down, suffixesPerTransaction };
}

function ownMigration(
  version: number,
  up: string,
  down: string,
  suffixesPerTransaction = Infinity,
): Migration {
  return { track: "own", version, up, down, suffixesPerTransaction };
}
