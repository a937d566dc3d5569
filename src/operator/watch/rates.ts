/** Turns the server's counters into rates. */

import type { MetricsReading } from "./metrics.ts";
import type {
  HotPartition,
  SessionCount,
  WatchRates,
  WatchSample,
} from "./types.ts";

/** The most names that are shown. */
const maxNames = 8;

/** The counters at one look, to be compared with those of the next one. */
export interface Counts {
  at: number;
  commits: bigint;
  rollbacks: bigint;
  hits: bigint;
  reads: bigint;
  partitions: Map<string, { written: bigint; read: bigint }>;
  calls: ReadonlyMap<string, number> | undefined;
}

/** The partitions in which anything has happened, the busiest first. */
export function hotPartitions(before: Counts, counts: Counts): HotPartition[] {
  const seconds = (counts.at - before.at) / 1000;
  return [...counts.partitions]
    .filter(([partition]) => partition !== "")
    .map(([partition, { written, read }]) => {
      const last = before.partitions.get(partition);
      return {
        partition,
        rowsWritten: rate(written, last?.written, seconds),
        rowsRead: rate(read, last?.read, seconds),
      };
    })
    .filter(({ rowsWritten, rowsRead }) => rowsWritten + rowsRead > 0)
    .toSorted((a, b) =>
      b.rowsWritten - a.rowsWritten || b.rowsRead - a.rowsRead
    );
}

/** The rate of a counter, which starts again when statistics are reset. */
function rate(
  value: bigint,
  before: bigint | undefined,
  seconds: number,
): number {
  return Math.max(0, Number(value - (before ?? value))) / seconds;
}

/** The rates between two looks. */
export function ratesOf(before: Counts, counts: Counts): WatchRates {
  const seconds = (counts.at - before.at) / 1000;
  const sum = (of: "written" | "read") =>
    [...counts.partitions].reduce(
      (sum, [name, its]) =>
        sum + rate(its[of], before.partitions.get(name)?.[of], seconds),
      0,
    );
  const hits = rate(counts.hits, before.hits, seconds);
  const reads = rate(counts.reads, before.reads, seconds);
  return {
    commits: rate(counts.commits, before.commits, seconds),
    rollbacks: rate(counts.rollbacks, before.rollbacks, seconds),
    rowsWritten: sum("written"),
    rowsRead: sum("read"),
    cacheHits: hits + reads > 0 ? hits / (hits + reads) : null,
  };
}

/** Sessions by state and by what they wait for. */
export function activityOf(
  rows: readonly (readonly [string, string | null, bigint, number | null])[],
): Pick<WatchSample, "states" | "waits" | "longestTransaction"> {
  const states = new Map<string, number>();
  const waits = new Map<string, number>();
  let longest: number | null = null;
  const add = (to: Map<string, number>, name: string, sessions: bigint) =>
    to.set(name, (to.get(name) ?? 0) + Number(sessions));
  for (const [state, wait, sessions, seconds] of rows) {
    add(states, state, sessions);
    if (wait !== null) add(waits, wait, sessions);
    if (seconds !== null) longest = Math.max(longest ?? 0, seconds);
  }
  return {
    states: most(states),
    waits: most(waits),
    longestTransaction: longest,
  };
}

function most(counts: ReadonlyMap<string, number>): SessionCount[] {
  return [...counts].map(([name, sessions]) => ({ name, sessions }))
    .toSorted((a, b) => b.sessions - a.sessions).slice(0, maxNames);
}

/** A store's metrics, with its calls a second. */
export function storeOf(
  reading: MetricsReading | string | undefined,
  before: Counts | undefined,
  { at }: Counts,
): Pick<WatchSample, "store"> {
  if (reading === undefined) return {};
  if (typeof reading === "string") return { store: { unreachable: reading } };
  const { metrics, calls } = reading;
  const last = before?.calls;
  const perSecond = last === undefined ? [] : [...calls]
    .map(([operation, count]) => ({
      operation,
      perSecond: Math.max(0, count - (last.get(operation) ?? 0)) /
        ((at - before!.at) / 1000),
    }))
    .filter(({ perSecond }) => perSecond > 0)
    .toSorted((a, b) => b.perSecond - a.perSecond).slice(0, maxNames);
  return { store: { ...metrics, calls: perSecond } };
}
