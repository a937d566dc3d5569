/** How much is measured. */

/** The sizes that the rows use. */
export interface MarkSizes {
  partitions: number;
  /** Streams that are read one after the other. */
  streams: number;
  /** Blocks and events of one call whose pause is measured. */
  manyBlocks: number;
  manyEvents: number;
  /** Streams over which the events go. */
  eventStreams: number;
  /** Reads of a block of 1 MB at once. */
  largeReads: number;
  /** Streams that get their first event, and those that get many. */
  coldStreams: number;
  warmStreams: number;
  /** Blocks of 51 KB of a stream that is deleted. */
  deletedBlocks: number;
  /** Blocks of a stream whose ranges are asked for. */
  rangeBlocks: number;
  /** How often each partition gets its calls before memory is measured. */
  memoryRounds: number;
}

/** A run, and a test that everything runs. */
export const sizes = {
  full: {
    partitions: 256,
    streams: 16,
    manyBlocks: 100_000,
    manyEvents: 40_000,
    eventStreams: 2000,
    largeReads: 300,
    coldStreams: 100_000,
    warmStreams: 1000,
    deletedBlocks: 80_000,
    rangeBlocks: 1_500_000,
    memoryRounds: 3,
  },
  smoke: {
    partitions: 2,
    streams: 2,
    manyBlocks: 20,
    manyEvents: 40,
    eventStreams: 4,
    largeReads: 2,
    coldStreams: 8,
    warmStreams: 4,
    deletedBlocks: 10,
    rangeBlocks: 100,
    memoryRounds: 1,
  },
} satisfies Record<string, MarkSizes>;

/** The name of a set of sizes. */
export type SizeName = keyof typeof sizes;

/** Whether a set of sizes has this name. */
export function isSizeName(name: string): name is SizeName {
  return name in sizes;
}
