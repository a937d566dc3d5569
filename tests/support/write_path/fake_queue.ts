/** A write queue over fake transactions and fake locks. */
import { setImmediate } from "node:timers/promises";
import { WriteQueue } from "../../../src/postgres/write_path/write_queue.ts";
import type { WriteQueueOptions } from "../../../src/postgres/write_path/write_queue_options.ts";
import { isStreamStorageError } from "../../../src/storage/errors.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import { FakeLocks } from "./fake_locks.ts";
import {
  FakeTransactions,
  type FakeWriteOptions,
  Locked,
  UnknownOutcome,
} from "./fake_transactions.ts";

/** Four streams. */
export const [a, b, c, d] = ["a", "b", "c", "d"] as [
  StreamId,
  StreamId,
  StreamId,
  StreamId,
];

/**
 * Makes a queue with two transaction slots, one of them shared, and with limits
 * that are too large to matter unless the options set others. `settled` collects
 * the names of its writes, with an exclamation mark for those that failed.
 */
export function fakeQueue(options: Partial<WriteQueueOptions> = {}) {
  const database = new FakeTransactions();
  const locks = new FakeLocks();
  const queue = new WriteQueue({
    slots: 2,
    sharedSlots: 1,
    minDivided: 100,
    maxShared: 100,
    maxSharedBytes: 1000,
    maxWaiting: 1000,
    maxWaitingBytes: 100_000,
    maxWaitMs: 60_000,
    maxLockWaitMs: 60_000,
    locks,
    runBatch: database.runBatch,
    isUnknown: (error) => error instanceof UnknownOutcome,
    isLocked: (error) => error instanceof Locked,
    ...options,
  });
  const settled: string[] = [];
  const submit = (id: StreamId, name: string, options?: FakeWriteOptions) => {
    const promise = queue.submit(database.write(id, name, options));
    promise.then(() => settled.push(name), () => settled.push(`${name}!`));
    return promise;
  };
  /** The names of the writes in each transaction, when nothing more happens. */
  const inFlight = async () => {
    // Answers settle, callers write again, and the queue dispatches: three turns.
    for (let turn = 0; turn < 3; turn++) await setImmediate();
    return database.inFlight.map(({ names }) => names.join(" "));
  };
  return { queue, database, locks, submit, settled, inFlight };
}

/** Whether an error is a typed one of this code and reason. */
export function isError(code: string, reason: string) {
  return (error: unknown) =>
    isStreamStorageError(error) && error.code === code &&
    error.details.reason === reason;
}
