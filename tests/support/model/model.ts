/**
 * Model checking. Random sequences of operations run on a store over PostgreSQL
 * and on `MemoryStreamStorage`. Both must have the same results, errors and
 * content. SQL checks the invariants after every step.
 */
import fc from "fast-check";
import { quoteIdentifier } from "../../../src/database/migrations/sql_text.ts";
import { partitionSuffixes } from "../../../src/database/migrations/plan.ts";
import type { Session } from "../../../src/database/session.ts";
import { MemoryStreamStorage } from "../../../src/memory/memory_stream_storage.ts";
import { openStreamStorage } from "../../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import { openSession } from "../migration_connection.ts";
import { invariantCheck } from "./invariants.ts";
import { reduceSequence } from "./reduce.ts";
import { runSequence, sequenceIds, type Subject } from "./run.ts";
import { sequences, type Step } from "./steps.ts";
import { plant } from "../plant.ts";
import { openTestStorage } from "../storage.ts";

/** The extent of a check. */
export interface ModelOptions {
  /** Default: random. */
  seed?: number | undefined;
  /** The path of a failure: with its seed, only that sequence runs. */
  path?: string | undefined;
  /** The number of sequences. */
  runs: number;
  /** The largest number of steps of a sequence. */
  maxSteps: number;
  /** Milliseconds after which no further sequence starts. */
  timeLimitMs?: number;
  /** Called after each sequence. */
  onProgress?: (counts: ModelCounts) => void;
}

/** Counts of what was checked. */
export interface ModelCounts {
  sequences: number;
  steps: number;
  calls: number;
}

const partitions = 2;

/** How long the check tries to reduce a failing sequence. */
const reduceMs = 30_000;

/**
 * Runs the check in a schema of its own.
 *
 * @throws {Error} if a sequence fails, with the seed, the path, and the smallest
 *   failing sequence found, as code.
 */
export async function checkModel(options: ModelOptions): Promise<ModelCounts> {
  const { seed, path, runs, maxSteps, timeLimitMs, onProgress } = options;
  const counts: ModelCounts = { sequences: 0, steps: 0, calls: 0 };
  await using ground = await openGround();
  const run = async (steps: readonly Step[]): Promise<number> => {
    const ids = sequenceIds();
    const model = new MemoryStreamStorage({ partitions });
    try {
      return await runSequence(ground.subject, model, ids, steps);
    } finally {
      await ground.remove(ids);
    }
  };
  const property = fc.asyncProperty(
    sequences(maxSteps),
    async (steps: Step[]) => {
      counts.calls += await run(steps);
      counts.sequences++;
      counts.steps += steps.length;
      onProgress?.(counts);
    },
  );
  const details = await fc.check(property, {
    numRuns: runs,
    endOnFailure: true,
    ...(seed === undefined ? {} : { seed }),
    ...(path === undefined ? {} : { path }),
    ...(timeLimitMs === undefined ? {} : {
      interruptAfterTimeLimit: timeLimitMs,
    }),
  });
  if (details.failed) {
    const { error, steps } = await reduceSequence(
      { steps: details.counterexample![0], error: details.errorInstance },
      (steps) => run(steps).then(() => undefined, (error) => error),
      reduceMs,
    );
    throw new Error(
      `Seed ${details.seed}, path ${
        JSON.stringify(details.counterexamplePath)
      } after ${details.numRuns} sequences, reduced to ${steps.length} ` +
        `steps:\n${String(error)}`,
      { cause: error },
    );
  }
  return counts;
}

interface ModelGround extends AsyncDisposable {
  subject: Subject;
  /** Removes all rows of the streams. */
  remove(ids: readonly StreamId[]): Promise<void>;
}

async function openGround(): Promise<ModelGround> {
  await using stack = new AsyncDisposableStack();
  // A slow machine must not cause a difference.
  const options = { partitions, operationTimeoutMs: 60_000 };
  const test = stack.use(await openTestStorage(options));
  const { url, schema } = test;
  const session = stack.use(await openSession(url));
  let storage: PostgresStreamStorage = test.storage;
  stack.defer(() => storage.close());
  const open = () =>
    openStreamStorage({
      ...options,
      url,
      schema,
      maxConnections: 5,
      startupDelayMs: 0,
      migrate: "check",
    });
  const subject: Subject = {
    get storage() {
      return storage;
    },
    plant: (streamId, rows) =>
      plant({ url, schema, partitions }, streamId, rows),
    reopen: async (takeOver) => {
      const former = storage;
      if (!takeOver) await former.close();
      storage = await open();
      await former.close();
    },
    check: invariantCheck(session, { schema, partitions }),
  };
  const cleanUp = stack.move();
  return {
    subject,
    remove: (ids) => removeRows(session, schema, ids),
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}

async function removeRows(
  session: Session,
  schema: string,
  ids: readonly StreamId[],
): Promise<void> {
  const list = ids.map((id) => `'${id}'`).join(", ");
  const names = ["es", "stream_storage_ephemeral"];
  for (const suffix of partitionSuffixes(partitions)) {
    for (const kind of ["miniblocks", "minipools", "miniblock_candidates"]) {
      names.push(`${kind}_${suffix}`);
    }
  }
  await session.script(
    names.map((name) =>
      `DELETE FROM ${quoteIdentifier(schema)}.${name}
        WHERE stream_id IN (${list})`
    ).join("; "),
  );
}
