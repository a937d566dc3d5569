import { ownershipLost } from "../database/fence_errors.ts";
import { StreamStorageError, withChanges } from "../storage/errors.ts";
import {
  isOperationName,
  isWrite,
  type OperationName,
} from "../storage/operations.ts";
import { isStreamId, type StreamId } from "../storage/stream_id.ts";
import type { StreamStorage } from "../storage/stream_storage.ts";

/** How a call fails; an error of your own is thrown unchanged. */
export type Fault =
  /** Nothing is done: `UNAVAILABLE`, outcome `rolled_back`. */
  | "unavailable"
  /** Nothing is done: `DEADLINE_EXCEEDED`, outcome `rolled_back`. */
  | "deadline"
  /** The call takes effect: `UNAVAILABLE`, outcome `unknown` if it writes. */
  | "answer_lost"
  /** Nothing is done, but the caller gets the error of `answer_lost`. */
  | "request_lost"
  /** This call and all later ones: `RESOURCE_EXHAUSTED`; the signal aborts. */
  | "ownership_lost"
  | StreamStorageError;

/** A fault of a single call. */
type SingleFault = Exclude<Fault, "ownership_lost">;

/** A call that may be made to fail. */
export interface FaultCall {
  /** The method. */
  operation: keyof StreamStorage & string;
  /** The stream, if the call is about one. */
  streamId: StreamId | undefined;
  /** The number of calls of this method so far, including this one. */
  count: number;
}

/** Decides about each call; undefined lets the call proceed. */
export type FaultPlan = (call: FaultCall) => Fault | undefined;

/** A store that fails as planned. */
export type FaultyStreamStorage<S extends StreamStorage> = S & {
  /** Aborts on the fault `ownership_lost`, as an open store's signal does. */
  readonly signal: AbortSignal;
};

/** How often {@linkcode randomFaults} makes a call fail, and how. */
export interface RandomFaultsOptions {
  /** The same seed gives the same faults. Default 1. */
  seed?: number;
  /** The share of calls that fail, 0 to 1. Default 0.1. */
  rate?: number;
  /** The faults to choose from. Default: all except `ownership_lost`. */
  faults?: readonly Fault[];
}

/**
 * A store whose calls fail as `plan` decides, with the errors of a real store.
 * It lets you test how your program handles a lost answer or an unreachable
 * database without causing either. It wraps the twin in memory or an open
 * store.
 *
 * A fault comes before the call's arguments are checked. `close` never fails.
 *
 * @example The first event is stored, but its writer gets no answer.
 * ```ts
 * import { MemoryStreamStorage } from "@towns/stream-storage";
 * import { withFaults } from "@towns/stream-storage/testing";
 *
 * await using storage = withFaults(
 *   new MemoryStreamStorage(),
 *   ({ operation, count }) =>
 *     operation === "writeEvent" && count === 1 ? "answer_lost" : undefined,
 * );
 * ```
 */
export function withFaults<S extends StreamStorage>(
  storage: S,
  plan: FaultPlan,
): FaultyStreamStorage<S> {
  const ended = new AbortController();
  const { signal: own } = storage as { signal?: AbortSignal };
  const signal = own === undefined
    ? ended.signal
    : AbortSignal.any([own, ended.signal]);
  const counts = new Map<string, number>();

  const decide = (
    operation: OperationName,
    first: unknown,
  ): SingleFault | undefined => {
    if (ended.signal.aborted) return ended.signal.reason;
    const count = (counts.get(operation) ?? 0) + 1;
    counts.set(operation, count);
    const streamId = isStreamId(first) ? first : undefined;
    const fault = plan({ operation, streamId, count });
    if (fault !== "ownership_lost") return fault;
    ended.abort(ownershipLost({ isReplaced: true }));
    return ended.signal.reason;
  };

  return new Proxy(storage, {
    get(target, key) {
      if (key === "signal") return signal;
      const member = Reflect.get(target, key, target);
      if (typeof member !== "function") return member;
      if (!isOperationName(key)) return member.bind(target);
      return (...args: unknown[]) => {
        const call = () => member.apply(target, args);
        const fault = decide(key, args[0]);
        if (fault === undefined) return call();
        return key === "streamMiniblocks"
          ? failingPages(errorOf(fault, key))
          : failing(fault, key, call);
      };
    },
  }) as FaultyStreamStorage<S>;
}

/** Random faults; the same each time for the same seed and calls. */
export function randomFaults(options: RandomFaultsOptions = {}): FaultPlan {
  const {
    seed = 1,
    rate = 0.1,
    faults = ["unavailable", "deadline", "answer_lost", "request_lost"],
  } = options;
  const next = dice(seed);
  return () =>
    next() < rate ? faults[Math.floor(next() * faults.length)] : undefined;
}

/** For `answer_lost` the call takes effect first; other faults do nothing. */
async function failing(
  fault: SingleFault,
  operation: OperationName,
  call: () => Promise<unknown>,
): Promise<never> {
  // The result of the call is lost with its answer.
  if (fault === "answer_lost") await call().catch(() => {});
  throw errorOf(fault, operation);
}

// deno-lint-ignore require-yield
async function* failingPages(
  error: StreamStorageError,
): AsyncGenerator<never, void, undefined> {
  throw error;
}

const texts = {
  unavailable: ["UNAVAILABLE", "connection_failed", "Database is unreachable"],
  deadline: [
    "DEADLINE_EXCEEDED",
    "statement_timeout",
    "Statement took too long",
  ],
  answer_lost: ["UNAVAILABLE", "connection_lost", "Database connection broke"],
  request_lost: ["UNAVAILABLE", "connection_lost", "Database connection broke"],
} as const;

function errorOf(
  fault: SingleFault,
  operation: OperationName,
): StreamStorageError {
  if (fault instanceof StreamStorageError) {
    return withChanges(fault, { operation });
  }
  const [code, reason, text] = texts[fault];
  const isLost = fault === "answer_lost" || fault === "request_lost";
  return new StreamStorageError({
    code,
    operation,
    message: `${text}: a fault of withFaults`,
    details: { reason },
    retryable: true,
    outcome: isWrite(operation) && isLost ? "unknown" : "rolled_back",
  });
}

/** Random numbers from 0 to 1 (mulberry32). */
function dice(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = state + 0x6D2B79F5 | 0;
    let t = Math.imul(state ^ state >>> 15, 1 | state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
}
