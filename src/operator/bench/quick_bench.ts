/**
 * Measures the calls that a node makes most on the user's own server. The
 * result shows what to expect there and what limits it. The benchmark works in
 * a schema of its own and removes it on exit, also after a failure. It touches
 * nothing else.
 */

import { randomUUID } from "node:crypto";
import { operationError, toStorageError } from "../../database/failures.ts";
import { dropSchema } from "../../database/migrations/mod.ts";
import { bind, statement } from "../../database/statement.ts";
import { openStreamStorage } from "../../open_stream_storage.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { invalidArgument } from "../../storage/fault.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { type ServerOptions, withSession } from "../session.ts";
import { type BenchLine, type BenchWork, measureCalls } from "./latencies.ts";
import type {
  BenchLimit,
  QuickBenchOptions,
  QuickBenchReport,
} from "./options.ts";
import { prepareServerWork, serverWork, storeWork } from "./work.ts";

const operation = "quickBench";

/** The beginning of every scratch schema's name. */
const scratchPrefix = "stream_storage_bench_";

/** Dropping a schema may wait for a checkpoint on a slow disk. */
const dropWithinMs = 60_000;

const selectSchema = statement({
  text: `SELECT pg_catalog.current_setting('server_version'),
      EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)`,
  params: ["text"],
  columns: ["text", "bool"],
  once: true,
});

/**
 * Measures creating, writing, sealing and reading on a server, with one caller
 * and with many. For comparison it also measures an empty round trip and a bare
 * commit.
 *
 * ```ts
 * import { quickBench } from "@towns/stream-storage/operator";
 *
 * const { lines, limit } = await quickBench({ url, seconds: 2 });
 * console.log(limit, lines.map(({ operation, p50Ms }) => [operation, p50Ms]));
 * ```
 *
 * @throws {StreamStorageError} as `openStreamStorage`; `scratch_left` in
 *   `details.reason` if the schema could not be removed, with its name.
 */
export async function quickBench(
  { seconds = 20, onProgress = () => {}, ...options }: QuickBenchOptions,
): Promise<QuickBenchReport> {
  if (!(seconds >= 1 && seconds <= 3600)) {
    throw invalidArgument({
      argument: "seconds",
      reason: "bad_seconds",
      rule: "must be from 1 to 3600",
      received: seconds,
    });
  }
  const schema = scratchPrefix + randomUUID().replaceAll("-", "");
  const { signal } = options;
  const place: ServerOptions = serverOf(options);
  const serverVersion = await withSession(
    operation,
    place,
    async (session) => {
      const [{ rows }] = await session.run([bind(selectSchema, schema)]);
      const [version, exists] = rows[0]!;
      // However unlikely: a schema that this run did not make must not be
      // dropped.
      if (exists) throw new Error(`Schema ${schema} exists`);
      return version.split(" ")[0]!;
    },
  );
  await using _ = { [Symbol.asyncDispose]: () => remove(place, schema) };
  try {
    const lines = await measureAll(options, {
      schema,
      place,
      seconds,
      onProgress,
    });
    return { serverVersion, lines, ...limitOf(lines) };
  } catch (error) {
    throw operationError(operation, error, signal);
  }
}

/** The options of a plain session, without those of a store. */
function serverOf(
  { maxConnections: _, ownershipUrl, signal: __, ...options }: Omit<
    QuickBenchOptions,
    "seconds" | "onProgress"
  >,
): ServerOptions {
  return {
    ...options,
    // A pooler could switch to another server while the schema is dropped.
    ...(ownershipUrl === undefined ? {} : { url: ownershipUrl }),
    applicationName: "stream-bench",
    targetSessionAttrs: "primary",
    statementTimeoutMs: dropWithinMs,
  };
}

async function measureAll(
  options: Omit<QuickBenchOptions, "seconds" | "onProgress">,
  { schema, place, seconds, onProgress }: {
    schema: string;
    place: ServerOptions;
    seconds: number;
    onProgress: NonNullable<QuickBenchOptions["onProgress"]>;
  },
): Promise<BenchLine[]> {
  const { signal } = options;
  await using storage = await openStreamStorage({
    ...options,
    schema,
    partitions: 4,
    startupDelayMs: 0,
    workerConcurrency: 0,
    applicationName: "stream-bench",
  });
  return await withSession(operation, place, async (session) => {
    await prepareServerWork(session, schema);
    const all: BenchWork[] = [
      ...serverWork(session, schema),
      ...storeWork(storage),
    ];
    const lines: BenchLine[] = [];
    for (const [done, work] of all.entries()) {
      onProgress(work.operation, done, all.length);
      const milliseconds = seconds * 1000 / all.length;
      lines.push(await measureCalls(work, { milliseconds, signal }));
    }
    return lines;
  });
}

/** Decides what a single write spends most of its time on. */
export function limitOf(
  lines: readonly BenchLine[],
): Pick<QuickBenchReport, "roundTripMs" | "commitMs" | "limit"> {
  const p50 = (wanted: string) =>
    lines.find(({ operation }) => operation === wanted)?.p50Ms ?? 0;
  const roundTripMs = p50("round trip");
  const commitMs = Math.max(0, p50("commit of one row") - roundTripMs);
  const rest = Math.max(0, p50("writeEvent") - roundTripMs - commitMs);
  const parts: [BenchLimit, number][] = [
    ["commit", commitMs],
    ["network", roundTripMs],
    ["processor", rest],
  ];
  const [limit] = parts.reduce((most, each) => each[1] > most[1] ? each : most);
  return { roundTripMs, commitMs, limit };
}

/** Removes the schema, even if the work was aborted. */
async function remove(place: ServerOptions, schema: string): Promise<void> {
  try {
    await withSession(
      operation,
      place,
      (session) => dropSchema(session, schema),
    );
  } catch (error) {
    const { code, message } = toStorageError(error);
    throw new StreamStorageError({
      code,
      message: `Schema ${quoted(schema)} could not be removed, drop it: ` +
        message,
      operation,
      details: { reason: "scratch_left", schema },
      cause: error,
    });
  }
}
