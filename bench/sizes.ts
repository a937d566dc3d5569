/** How much work a batch contains. */

/** How many clients, streams and rows the workloads have. */
export interface Sizes {
  /** Streams that clients write to at once under load. */
  writers: number;
  /** Streams that clients write to at once under a light load. */
  fewWriters: number;
  /** Streams that are created at once. */
  creators: number;
  /** Reads at once under load. */
  readers: number;
  /** Events of a minipool when a block takes them. */
  minipoolEvents: number;
  /** Calls that one client makes one after another in a batch. */
  calls: number;
  /** Blocks of one large write and one large read. */
  manyBlocks: number;
  /** Events of a minipool that only grows. */
  largeMinipool: number;
  /** Blocks of a long stream. */
  longStream: number;
  /** Connections of the store that has many. */
  manyConnections: number;
  /** Streams in a small and in a large store; events in each stream. */
  loaded: { few: number; many: number; events: number };
}

/** The sizes of the published figures. */
export const fullSizes: Sizes = {
  writers: 400,
  fewWriters: 8,
  creators: 64,
  readers: 32,
  minipoolEvents: 20,
  calls: 200,
  manyBlocks: 100,
  largeMinipool: 20_000,
  longStream: 50_000,
  manyConnections: 64,
  loaded: { few: 1_000, many: 100_000, events: 50 },
};

/**
 * Sizes for a test that everything runs. The times of such a run mean nothing.
 */
export const smokeSizes: Sizes = {
  writers: 6,
  fewWriters: 3,
  creators: 4,
  readers: 3,
  minipoolEvents: 3,
  calls: 6,
  manyBlocks: 5,
  largeMinipool: 30,
  longStream: 30,
  manyConnections: 6,
  loaded: { few: 3, many: 9, events: 4 },
};
