import { createHash } from "node:crypto";
import type { StreamStorage } from "../../mod.ts";
import { streamType } from "../../mod.ts";
import { CallTimes } from "./call_times.ts";
import { historyOf } from "./history.ts";
import { drawStreams } from "./picture.ts";
import { play } from "./player.ts";
import type { Progress } from "./progress.ts";
import type { DemoReport, TypeTotals } from "./report.ts";
import type { StreamHistory } from "./stream_author.ts";
import {
  corruptLastBlock,
  openTarget,
  serverVersion,
  storedSizes,
} from "./target.ts";
import { sumOf, type Verified, verifyStreams } from "./verifier.ts";

/** The options of the demo. */
export interface DemoOptions {
  seed: string;
  /** The URL of a server; absent: an embedded one. */
  url?: string | undefined;
  schema: string;
  partitions: number;
  /** Whether to leave the schema behind. */
  keep: boolean;
  /** Whether to change a stored byte, which the verification must notice. */
  corrupt: boolean;
}

/**
 * Writes a history, reads it back, compares every byte and reports what is
 * stored. Cleans up, whatever happens.
 *
 * @throws {VerificationError} a byte differs.
 */
export async function runDemo(
  options: DemoOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<DemoReport> {
  const start = performance.now();
  const { seed, schema, keep } = options;
  await using target = await openTarget({
    ...options,
    signal,
    onPhase: (phase) => progress.begin(phase),
  });
  const opened = performance.now();
  const calls = new CallTimes();
  const storage = calls.watch(target.storage);
  const written = await write(storage, historyOf(seed), progress, signal);
  const played = performance.now();
  // New arrays, which the storage could not change.
  const histories = historyOf(seed);
  if (options.corrupt) {
    await corruptLastBlock(target, histories[0]!.expected.streamId);
  }
  const verifyingFrom = performance.now();
  const verified = await verify(storage, histories, progress, signal);
  const verifiedAt = performance.now();
  return {
    seed,
    server: {
      version: await serverVersion(target),
      embedded: options.url === undefined,
    },
    schema: { name: schema, partitions: target.storage.partitions, kept: keep },
    written,
    verified: sumOf(verified),
    digest: digestOf(histories),
    types: totalsByType(histories, verified),
    streams: await drawStreams(target.storage, histories),
    diskBytes: await storedSizes(target),
    timings: {
      openMs: Math.round(opened - start),
      writeMs: Math.round(played - opened),
      verifyMs: Math.round(verifiedAt - verifyingFrom),
    },
    calls: calls.summary(),
  };
}

async function write(
  storage: StreamStorage,
  histories: readonly StreamHistory[],
  progress: Progress,
  signal: AbortSignal,
): Promise<DemoReport["written"]> {
  const steps = histories.flatMap((history) => history.steps);
  progress.begin("Writing", steps.length);
  const onStep = () => progress.advance(1);
  await play(storage, histories, { signal, onStep });
  return {
    streams: histories.length,
    events: steps.reduce((sum, { events }) => sum + events, 0),
    bytes: steps.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

async function verify(
  storage: StreamStorage,
  histories: readonly StreamHistory[],
  progress: Progress,
  signal: AbortSignal,
): Promise<Verified[]> {
  const expected = histories.map((history) => history.expected);
  progress.begin("Reading back", expected.length);
  const onStream = () => progress.advance(1);
  return await verifyStreams(storage, expected, { signal, onStream });
}

function totalsByType(
  histories: readonly StreamHistory[],
  verified: readonly Verified[],
): TypeTotals[] {
  const byType = Map.groupBy(
    verified.keys(),
    (index) => streamType(histories[index]!.expected.streamId),
  );
  return [...byType].map(([type, indexes]) => ({
    type,
    ...sumOf(indexes.map((index) => verified[index]!)),
  }));
}

/** Hashes everything that the history leaves; equal for equal seeds. */
function digestOf(histories: readonly StreamHistory[]): string {
  const hash = createHash("sha256");
  for (const { expected } of histories) {
    hash.update(expected.streamId);
    for (
      const { data, snapshot } of [...expected.blocks, ...expected.candidates]
    ) {
      hash.update(data);
      if (snapshot !== undefined) hash.update(snapshot);
    }
    expected.minipool.forEach((event) => hash.update(event));
  }
  return hash.digest("hex");
}
