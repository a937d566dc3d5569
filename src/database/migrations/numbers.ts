/** The possible versions and partitions: all that judging a schema needs. */

/**
 * The numbering that a migration belongs to: the nodes' (`schema_migrations`)
 * or our own (`stream_storage_migrations`).
 */
export type MigrationTrack = "node" | "own";

/** The version that each track has or is to have; 0 is none. */
export type TrackVersions = Readonly<Record<MigrationTrack, number>>;

/** The first version whose layout is supported; it includes 1 to 5. */
export const firstVersion = 6;

/** The versions that this module works on. */
export const currentVersions: TrackVersions = { node: 9, own: 9 };

/** The largest number of partitions that two hex digits can name. */
export const maxPartitions = 256;

/** The suffixes of the partition tables: r00 m00 r01 m01 and so on. */
export function partitionSuffixes(partitions: number): string[] {
  return Array.from({ length: partitions }, (_, i) => {
    const digits = i.toString(16).padStart(2, "0");
    return [`r${digits}`, `m${digits}`];
  }).flat();
}
