/**
 * Writers and readers of many streams, with all workers running, options that
 * change all the time, and restarts. Acknowledged writes must be stored unless
 * the rules let a worker remove them, and the invariants must hold at every
 * restart.
 */
import assert from "node:assert/strict";
import { Random } from "../random.ts";
import type { StreamMaintenance } from "../../../src/postgres/maintenance.ts";
import type { TrimmingOptions } from "../../../src/postgres/trimming_options.ts";
import {
  type MaintenanceStore,
  openMaintenanceStore,
} from "../maintenance_store.ts";
import { soakQuotas, StreamAuthor } from "./stream_author.ts";
import { UploadAuthor } from "./upload_author.ts";

/** The extent of the soak. */
export interface WorkersSoakOptions {
  seed: string;
  /** The number of streams written at a time, and of files uploaded. */
  authors: number;
  /** The number of each author's steps between two restarts. */
  steps: number;
  /** The number of restarts; more while `goesOn` says so. */
  rounds: number;
  goesOn?: () => boolean;
  onRound?: (counts: WorkersSoakCounts) => void;
}

/** Counts of what was done. */
export interface WorkersSoakCounts {
  rounds: number;
  steps: number;
  checks: number;
  sealed: number;
  abandoned: number;
  /** Streams that the sweeper has removed. */
  swept: number;
  trimmed: number;
}

/**
 * The ages by round. Short ones let the sweeper remove uploads while they are
 * written, which is the test. Long ones let some uploads complete, even on the
 * slowest machine.
 */
const ttls = [20, 600_000, 5, 100];

/** Runs the soak in a schema of its own; throws if anything is wrong. */
export async function soakWorkers(
  options: WorkersSoakOptions,
): Promise<WorkersSoakCounts> {
  const { seed, authors, goesOn = () => false } = options;
  const random = new Random(seed);
  const lively = {
    workerConcurrency: 2,
    ephemeralSweepIntervalMs: 5,
    maxConnections: 8,
    operationTimeoutMs: 60_000,
    quotas: soakQuotas,
  };
  await using store = await openMaintenanceStore({
    ...lively,
    ephemeralTtlMs: ttls[0]!,
    trimming: trimmingOf(random),
  });
  const streams = Array.from(
    { length: authors },
    (_, i) => new StreamAuthor(new Random(`${seed} stream ${i}`)),
  );
  const uploads = Array.from(
    { length: authors },
    (_, i) => new UploadAuthor(new Random(`${seed} upload ${i}`)),
  );
  let counts = countsOf(store, { rounds: 0, steps: 0, streams, uploads });
  for (let round = 1; round <= options.rounds || goesOn(); round++) {
    await runRound(store, { ...options, random, streams, uploads });
    for (const author of [...streams, ...uploads]) {
      await author.check(store.storage);
    }
    await store.storage.close();
    await store.assertInvariants();
    assertNothingWrong(store);
    await store.reopen({
      ...lively,
      ephemeralTtlMs: ttls[round % ttls.length]!,
      trimming: trimmingOf(random),
    });
    const steps = round * options.steps * authors * 2;
    counts = countsOf(store, { rounds: round, steps, streams, uploads });
    options.onRound?.(counts);
  }
  await checkEnd(store, streams, uploads);
  return counts;
}

type Round = WorkersSoakOptions & {
  random: Random;
  streams: StreamAuthor[];
  uploads: UploadAuthor[];
};

async function runRound(
  { storage }: MaintenanceStore,
  { steps, random, streams, uploads }: Round,
): Promise<void> {
  const left = new Set<StreamAuthor | UploadAuthor>([...streams, ...uploads]);
  const writing = Array.from(left, async (author) => {
    for (let step = 0; step < steps; step++) await author.step(storage);
    left.delete(author);
  });
  const meddling = (async () => {
    while (left.size > 0) await meddle(storage.maintenance, random);
  })();
  await Promise.all(writing);
  await meddling;
}

/** Does something that an operator may do at any time. */
async function meddle(
  maintenance: StreamMaintenance,
  random: Random,
): Promise<void> {
  switch (random.between(0, 4)) {
    case 0:
      return await maintenance.updateTrimming(trimmingOf(random));
    case 1:
    case 2: {
      const report = await maintenance.trimStreams({
        dryRun: random.chance(50),
      });
      // Concurrent work never makes a gap.
      assert.deepEqual(report.refusals, []);
      for (const { reason } of report.failures) {
        assert.match(reason, /^(stream_changed|stream_not_found)$/);
      }
      return;
    }
    default: {
      const report = await maintenance.sweepEphemeralStreams({
        dryRun: random.chance(50),
      });
      assert.deepEqual(report.failures, []);
    }
  }
}

function trimmingOf(random: Random): TrimmingOptions {
  return {
    activationFactor: random.between(0, 3),
    historyMiniblocks: { default: BigInt(random.between(0, 40)) },
    snapshotRetentionInterval: random.chance(70) ? 100n : 0n,
    batchSize: random.chance(50) ? random.between(1, 10) : 1000,
  };
}

/** Checks that the log has no unexpected events. */
function assertNothingWrong({ events }: MaintenanceStore): void {
  const wrong = events.filter(({ level, code, details }) => {
    const first = details?.["first"] as { reason?: string } | undefined;
    const isRace = code === "worker_streams_failed" &&
      first?.reason === "stream_changed";
    return (level === "warn" || level === "error") && !isRace &&
      !/^(quota_near|ownership_)/.test(code);
  });
  assert.deepEqual(wrong, []);
}

/** Checks at rest that nothing is left that the rules let workers remove. */
async function checkEnd(
  store: MaintenanceStore,
  streams: readonly StreamAuthor[],
  uploads: readonly UploadAuthor[],
): Promise<void> {
  const { storage } = store;
  const history = 10n;
  const retention = 100n;
  const { maintenance } = storage;
  await maintenance.updateTrimming({
    historyMiniblocks: { default: history },
    snapshotRetentionInterval: retention,
  });
  await maintenance.sweepEphemeralStreams({ ttlMs: 0 });
  await maintenance.trimStreams();
  const again = await maintenance.trimStreams();
  assert.equal(again.trimmed, 0, "a second run still trims");
  for (const { id, last, latest } of streams) {
    if (last < 0n) continue;
    const [range, ...others] = await storage.getMiniblockNumberRanges(id);
    assert.deepEqual(others, []);
    const { startInclusive: start, snapshotSeqNums: snapshots } = range!;
    assert.ok(
      start === 0n || snapshots.includes(start),
      "no snapshot at the cut",
    );
    const droppable = snapshots.filter((n) =>
      n > start && n <= latest - history
    );
    assert.deepEqual(droppable, [], "too much history");
    const old = snapshots.filter((n) => n <= last - 100n && n !== latest);
    const intervals = old.map((n) => n / retention);
    assert.equal(
      new Set(intervals).size,
      intervals.length,
      "too many snapshots",
    );
  }
  const sealed = uploads.reduce((sum, { sealed }) => sum + sealed.size, 0);
  const alive = streams.filter(({ last }) => last >= 0n).length;
  assert.equal(await storage.getStreamsNumber(), alive + sealed);
  for (const author of streams) await author.check(storage);
  for (const author of uploads) await author.check(storage, Infinity);
  await store.assertInvariants();
}

function countsOf(
  { events }: MaintenanceStore,
  { rounds, steps, streams, uploads }: {
    rounds: number;
    steps: number;
    streams: readonly StreamAuthor[];
    uploads: readonly UploadAuthor[];
  },
): WorkersSoakCounts {
  const done = (worker: string) =>
    events.filter(({ code, details }) =>
      code === "worker_ran" && details?.["worker"] === worker
    ).reduce((sum, { details }) => sum + Number(details!["done"]), 0);
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  return {
    rounds,
    steps,
    checks: sum(streams.map(({ checks }) => checks)),
    sealed: sum(uploads.map(({ sealed }) => sealed.size)),
    abandoned: sum(uploads.map(({ abandoned }) => abandoned)),
    swept: done("ephemeral_sweeper"),
    trimmed: done("stream_trimmer"),
  };
}
