/**
 * The measured costs of stores. `deno task fleet-costs` and `deno task
 * server-memory` measure them again. tests/operator/fleet_test.ts and
 * tests/cluster/fleet_test.ts compare them with servers.
 */

/** A line through measured points: x, y. */
export type Points = readonly (readonly [number, number])[];

/** A figure and its source. */
export interface Measured<T> {
  /** What the figure measures, with its unit. */
  what: string;
  value: T;
  /** How the figure was measured, in one sentence. */
  how: string;
}

/** The machine on which all times were measured; other servers are faster. */
const machine = "both worker nodes on the same 2 busy cores and one disk";

/** PostgreSQL 18.4 and, for moves, Citus 13.2.2 on PostgreSQL 15. */
export const costs = {
  tables: {
    what: "tables of a store",
    value: { perPartition: 7, others: 12 },
    how: "counted in pg_class at 16, 64 and 256 partitions",
  },
  relations: {
    what: "tables, TOAST tables and indexes of a store",
    value: { perPartition: 26, others: 37 },
    how: "counted in pg_class at 16, 64 and 256 partitions",
  },
  catalogueBytes: {
    what: "bytes of system tables for each relation",
    value: 3020,
    how: "growth of pg_catalog at 4 stores of 16, 2 of 64 and 2 of 256 " +
      "partitions: 2.83 to 3.02 kB",
  },
  emptyBytes: {
    what: "bytes of files of an empty store for each relation",
    value: 4250,
    how: "pg_relation_size of all at the same stores: 4.11 to 4.25 kB",
  },
  diskBytes: {
    what: "bytes of tables of blocks for each event, by its bytes",
    value: [[100, 205], [300, 407], [1000, 1361], [4000, 4600]] as Points,
    how: "10 000 events of random bytes in blocks of 5, vacuumed",
  },
  streamBytes: {
    what: "bytes of other tables for each stream",
    value: 26_000,
    how:
      "200 streams after 10 blocks of 5 events of 300 B each; old minipools " +
      "are most of it",
  },
  logBytes: {
    what: "bytes of the write-ahead log for each event, by its bytes",
    value: [[100, 823], [300, 1224], [1000, 2745], [4000, 9566]] as Points,
    how: "10 000 events and their blocks behind a checkpoint, so with images " +
      "of pages",
  },
  processorMicros: {
    what: "µs of processor for an event of 300 B, by events a second",
    value: [[144, 384], [1511, 72], [3697, 52]] as Points,
    how:
      "times of all of its processes, 1, 8 and 64 callers at a time; reads " +
      "are not in it",
  },
  processorMicrosPerByte: {
    what: "µs of processor for each byte of an event beyond 300",
    value: 0.019,
    how: "events of 300 B and 4 kB, 8 callers at a time",
  },
  mediaFactor: {
    what: "bytes of tables for each byte of media in the database",
    value: 1.05,
    how: "500 events of 100 kB of random bytes in blocks of 5",
  },
  memoryBytes: {
    what: "bytes of memory of 10 connections of a store, by partitions",
    value: [
      [16, 57.7 * 2 ** 20],
      [64, 91.4 * 2 ** 20],
      [256, 142.3 * 2 ** 20],
    ] as Points,
    how:
      "deno task server-memory: what is the processes' own, without shared " +
      "buffers",
  },
  clusterConnections: {
    what: "connections of the cluster itself, on each server",
    value: 8,
    how:
      "pg_stat_activity of a coordinator and two worker nodes that do nothing",
  },
  logicalMove: {
    what: "a move that copies while the store is used",
    value: { secondsPerTable: 0.14, bytesPerSecond: 50e6 },
    how:
      "empty stores of 16, 64 and 256 partitions took 10, 27 and 244 s, and " +
      `16 with 1.27 GB 34 s: ${machine}`,
  },
  blockingMove: {
    what: "a move for which writes wait",
    value: { secondsPerTable: 0.17, bytesPerSecond: 26e6 },
    how:
      "empty stores of 16, 64 and 256 partitions took 12, 51 and 303 s, and " +
      `16 with 0.26 GB 24 s: ${machine}`,
  },
} as const satisfies Record<string, Measured<unknown>>;

/**
 * The value of a line at `x`. Before its first point the line stays level;
 * after its last point it continues as `beyond` says.
 */
export function along(
  points: Points,
  x: number,
  beyond: "level" | "straight",
): number {
  const [first, ...rest] = points;
  let before = first!;
  if (x <= before[0]) return before[1];
  for (const [i, next] of rest.entries()) {
    const isLast = i === rest.length - 1;
    if (x <= next[0] || (isLast && beyond === "straight")) {
      const slope = (next[1] - before[1]) / (next[0] - before[0]);
      return before[1] + (x - before[0]) * slope;
    }
    before = next;
  }
  return before[1];
}
