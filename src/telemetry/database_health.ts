/**
 * Turns failures and successes of calls into one log event per cause.
 *
 * An outage begins with a failed attempt to connect and ends with a successful
 * one. A broken connection alone is no outage: the server may only have ended a
 * session. Refused writes and full queues are causes of their own, because
 * connections may well be open.
 */

import {
  isStreamStorageError,
  type StreamStorageError,
} from "../storage/errors.ts";
import type { EventLog } from "./event_log.ts";

/** Reasons (database/failures.ts) why a reachable server takes no writes. */
const refusals: ReadonlySet<unknown> = new Set([
  "read_only_server",
  "insufficient_resources",
  "disk_full",
  "out_of_memory",
  "configuration_limit_exceeded",
]);

const overloads: ReadonlySet<unknown> = new Set([
  "pool_queue_full",
  "write_queue_full",
]);

interface Trouble {
  since: number;
  /** What the cause has made fail. */
  failed: number;
}

interface Outage extends Trouble {
  attempts: number;
  unknown: number;
}

/**
 * How long an answer counts: a few beats of the pulse, which asks when nothing
 * else does (postgres/pulse.ts).
 */
const latelyMs = 15_000;

/** What is wrong between a store and its database; see the file's head. */
export class DatabaseHealth {
  readonly #log: EventLog;
  readonly #hasRoom: () => boolean;
  #outage: Outage | undefined;
  #refusal: Trouble | undefined;
  #overload: Trouble | undefined;
  #isLossReported = false;
  #isClosing = false;
  /** When the last answer came, and the first one in a row, if any. */
  #answeredAt: number | undefined;
  #answeringSince = performance.now();
  /** The first failure after the last answer. */
  #failingSince = Infinity;

  /** `hasRoom` returns whether the queues are less than half full. */
  constructor(log: EventLog, hasRoom: () => boolean) {
    this.#log = log;
    this.#hasRoom = hasRoom;
  }

  /** False while connections fail. */
  get isAvailable(): boolean {
    return this.#outage === undefined;
  }

  /** When the last answer came, in the time of `performance.now()`. */
  get answeredAt(): number | undefined {
    return this.#answeredAt;
  }

  /**
   * Whether the database answers: an answer came lately, and no failure since.
   * Unlike `isAvailable`, this is false while sessions still work but a new one
   * can't be made.
   */
  isAnswering(now: number): boolean {
    const answeredAt = this.#answeredAt ?? -Infinity;
    return this.#failingSince === Infinity && now - answeredAt <= latelyMs;
  }

  /** When the database began to answer, or stopped. */
  answeringSince(now: number): number {
    if (this.isAnswering(now) || this.#answeredAt === undefined) {
      return this.#answeringSince;
    }
    return Math.min(this.#failingSince, this.#answeredAt + latelyMs);
  }

  /** Called for every answer of the database. */
  answered(now = performance.now()): void {
    if (!this.isAnswering(now)) this.#answeringSince = now;
    this.#answeredAt = now;
    this.#failingSince = Infinity;
  }

  /** Called before the store ends its connections on purpose. */
  closing(): void {
    this.#isClosing = true;
  }

  /** Called when a connection was made. */
  connected(): void {
    this.answered();
    this.#isLossReported = false;
    const outage = this.#outage;
    if (outage === undefined) return;
    this.#outage = undefined;
    this.#log.emit("database_available", {
      unavailableMs: elapsedMs(outage),
      failedAttempts: outage.attempts,
      failedCalls: outage.failed,
      unknownOutcomes: outage.unknown,
    });
  }

  /** Called when an attempt to connect failed. */
  connectFailed(error: StreamStorageError): void {
    if (this.#isClosing) return;
    const now = performance.now();
    this.#failingSince = Math.min(this.#failingSince, now);
    if (this.#outage === undefined) {
      this.#outage = {
        since: now,
        attempts: 0,
        failed: 0,
        unknown: 0,
      };
      this.#log.emit(
        "database_unavailable",
        { errorCode: error.code, ...error.details },
        error.message,
      );
    }
    this.#outage.attempts++;
  }

  /** Called when an open connection has ended. */
  connectionLost(pool: string): void {
    if (this.#isClosing || this.#isLossReported) return;
    this.#isLossReported = true;
    this.#log.emit("connection_lost", { pool });
  }

  /** Called when a call has succeeded. */
  callSucceeded(): void {
    const overload = this.#overload;
    if (overload === undefined || !this.#hasRoom()) return;
    this.#overload = undefined;
    this.#log.emit("overload_over", {
      overloadedMs: elapsedMs(overload),
      refusedCalls: overload.failed,
    });
  }

  /** Called when a call has failed. */
  callFailed(error: unknown): void {
    if (!isStreamStorageError(error)) return;
    const { code, outcome } = error;
    const { reason } = error.details;
    if (overloads.has(reason)) {
      this.#overload = this.#count(
        this.#overload,
        () => this.#log.emit("overloaded", { ...error.details }, error.message),
      );
    }
    const outage = this.#outage;
    if (
      outage !== undefined &&
      (code === "UNAVAILABLE" || code === "DEADLINE_EXCEEDED")
    ) {
      outage.failed++;
      if (outcome === "unknown") outage.unknown++;
    }
  }

  /** Called when a write transaction has committed. */
  writeCommitted(): void {
    const refusal = this.#refusal;
    if (refusal === undefined) return;
    this.#refusal = undefined;
    this.#log.emit("writes_accepted", {
      refusedMs: elapsedMs(refusal),
      refusedWrites: refusal.failed,
    });
  }

  /** Called when a write transaction has failed for good. */
  writeFailed(error: StreamStorageError): void {
    if (!refusals.has(error.details.reason)) return;
    this.#refusal = this.#count(
      this.#refusal,
      () =>
        this.#log.emit("writes_refused", { ...error.details }, error.message),
    );
  }

  #count(trouble: Trouble | undefined, report: () => void): Trouble {
    if (trouble === undefined) report();
    return {
      since: trouble?.since ?? performance.now(),
      failed: (trouble?.failed ?? 0) + 1,
    };
  }
}

function elapsedMs({ since }: Trouble): number {
  return Math.round(performance.now() - since);
}
