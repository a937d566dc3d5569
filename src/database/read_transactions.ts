/**
 * Runs reads: one flush each (session.ts), retried where useful. The error
 * decides whether it is (failures.ts).
 *
 * One deadline covers all attempts, including the wait for a connection. When
 * less than the statement timeout remains, the server gets the remaining time
 * as statement_timeout (session.ts) and cancels late work itself. If the server
 * stays silent, an attempt outlives the deadline, by a second at most.
 *
 * A reader needs no more than this; a store adds its writes (transactions.ts).
 */

import type { StreamStorageError } from "../storage/errors.ts";
import { loadModule } from "../storage/load_module.ts";
import type {
  TransactionMetrics,
  TransactionOutcome,
} from "../telemetry/transaction_metrics.ts";
import { sqlStateOf, toStorageError, verdictOf } from "./failures.ts";
import type { Pool, PoolUse } from "./pool.ts";
import type { ReadGate } from "./read_gate.ts";
import { type Rejection, rejectionOf } from "./rejection.ts";
import type { Bound, ResultsOf } from "./statement.ts";
import type { TransactionRing } from "./transaction_ring.ts";

/** How often and how soon a transaction is retried. */
export interface RetryOptions {
  /** Attempts in all, including the first. */
  attempts: number;
  minDelayMs: number;
  maxDelayMs: number;
}

/** A check in the transaction stopped it; nothing was written. */
export class RejectedError extends Error {
  override readonly name = "RejectedError";
  readonly rejection: Rejection;

  constructor(rejection: Rejection) {
    super(rejection.reason);
    this.rejection = rejection;
  }
}

/** The name of a transaction, and how it may be stopped. */
export interface TransactionContext {
  /** For metrics and the ring, for example `writeMiniblocks`. */
  name: string;
  /** Its subject, for the ring; for a read the stream, also for the gate. */
  tags?: string;
  signal?: AbortSignal | undefined;
  /**
   * The deadline, in the time of `performance.now()`. Default: the operation
   * timeout from now on.
   */
  deadline?: number | undefined;
  /**
   * Whether it looks for a lost write. Then it goes to the server that takes
   * the writes, and passes the fence: otherwise a successor could have changed
   * the rows, and a write that was done would be reported as not done.
   */
  isFenced?: boolean;
}

/** What a {@linkcode ReadTransactions} is made of. */
export interface ReadTransactionsOptions {
  readPool: Pool;
  retry: RetryOptions;
  operationTimeoutMs: number;
  ring: TransactionRing;
  /**
   * The server's statement timeout in milliseconds. A read canceled sooner was
   * in the way of a standby's recovery, and is retried. By default canceled
   * reads are not retried, because where nothing recovers, an operator has
   * canceled them.
   */
  canceledSoonerMs?: number;
  /** Keeps reads away from locked tables. */
  readGate?: ReadGate;
  /** Records how transactions end. */
  metrics?: TransactionMetrics;
}

/** Runs reads on a pool; see the head of this file. */
export class ReadTransactions {
  readonly #options: ReadTransactionsOptions;

  constructor(options: ReadTransactionsOptions) {
    this.#options = options;
  }

  /**
   * Reads with one flush, retried as needed.
   *
   * @throws {StreamStorageError}
   */
  read<const B extends readonly Bound[]>(
    context: TransactionContext,
    bound: B,
  ): Promise<ResultsOf<B>> {
    return this.runRetried(
      { mode: "read", context, isInDoubt: () => false },
      (deadline) =>
        this.#pastGate(
          context,
          deadline,
          () => this.attemptRead(context, bound, deadline),
        ),
    );
  }

  /** Makes one attempt at a read; a store overrides this. */
  protected attemptRead<const B extends readonly Bound[]>(
    context: TransactionContext,
    bound: B,
    deadline: number,
  ): Promise<ResultsOf<B>> {
    const { readPool } = this.#options;
    return this.attemptOn(readPool, "read", { context, bound, deadline });
  }

  /** A locked table holds up one read in each session at most, once. */
  async #pastGate<T>(
    { tags, signal }: TransactionContext,
    deadline: number,
    attempt: () => Promise<T>,
  ): Promise<T> {
    const { readGate: gate } = this.#options;
    if (gate === undefined || tags === undefined) return await attempt();
    const until = Math.min(deadline, performance.now() + gate.maxWaitMs);
    for (let nth = 0;; nth++) {
      if (gate.isShut(tags)) await gate.wait(tags, until, signal);
      try {
        return await attempt();
      } catch (error) {
        if (sqlStateOf(error) !== "55P03") throw error;
        await gate.met();
        if (performance.now() >= until) throw error;
        // Met twice, so it is a lock that the gate does not know.
        if (nth > 0 && !gate.isShut(tags)) throw error;
      }
    }
  }

  /** Runs attempts until one succeeds, none can, or the deadline has passed. */
  protected async runRetried<T>(
    { mode, context, isInDoubt }: {
      mode: "read" | "write";
      context: TransactionContext;
      isInDoubt: () => boolean;
    },
    attemptOnce: (deadline: number) => Promise<T>,
  ): Promise<T> {
    const { retry, operationTimeoutMs, metrics, canceledSoonerMs = 0 } =
      this.#options;
    const { name, signal } = context;
    let failure: unknown;
    const now = performance.now();
    const deadline = context.deadline ?? now + operationTimeoutMs;
    let soon = 0;
    const attempt = async (nth: number): Promise<T> => {
      const begun = performance.now();
      // A cancellation after that was due to the attempt's own timeout.
      soon = begun + Math.min(canceledSoonerMs, deadline - begun) * 0.75;
      if (nth > 1) this.#retried(context, nth, failure);
      try {
        signal?.throwIfAborted();
        return await attemptOnce(deadline);
      } catch (error) {
        const rejection = rejectionOf(error);
        if (rejection) throw new RejectedError(rejection);
        failure = error;
        throw error;
      }
    };
    try {
      const result = await withRetries(attempt, {
        ...retry,
        deadline,
        signal,
        mayRetry: (error) =>
          verdictOf(error, mode) !== "final" ||
          (sqlStateOf(error) === "57014" && performance.now() < soon),
      });
      metrics?.ended({ name, mode, outcome: "committed", since: now });
      return result;
    } catch (error) {
      throw this.#failed(error, {
        unknownOutcome: isInDoubt(),
        signal,
        run: { name, mode, since: now },
      });
    }
  }

  #retried(
    { name, tags = "" }: TransactionContext,
    nth: number,
    failure: unknown,
  ): void {
    const { ring, metrics } = this.#options;
    ring.record(name, tags, "retry");
    metrics?.retried(name, nth, sqlStateOf(failure) ?? "connection_lost");
  }

  /** Counts a failed transaction; returns what its caller gets. */
  #failed(
    error: unknown,
    { run, ...found }: {
      unknownOutcome: boolean;
      signal: AbortSignal | undefined;
      run: { name: string; mode: "read" | "write"; since: number };
    },
  ): RejectedError | StreamStorageError {
    const { metrics } = this.#options;
    if (error instanceof RejectedError) {
      metrics?.ended({ ...run, outcome: "rejected" });
      return error;
    }
    const thrown = toStorageError(error, found);
    metrics?.ended({ ...run, outcome: outcomeOf(thrown), error: thrown });
    return thrown;
  }

  /** Makes one attempt, and records it in the ring and the metrics. */
  protected async attemptOn<const B extends readonly Bound[]>(
    pool: Pool,
    use: PoolUse,
    { context, bound, deadline }: {
      context: TransactionContext;
      bound: B;
      deadline: number;
    },
  ): Promise<ResultsOf<B>> {
    const { ring, metrics } = this.#options;
    const tags = context.tags ?? "";
    metrics?.attempted(context.name);
    ring.record(context.name, tags, "begin");
    try {
      const results = await pool.run(bound, use, context.signal, deadline);
      ring.record(context.name, tags, "commit");
      return results;
    } catch (error) {
      const mode = use === "read" ? "read" : "write";
      const unknown = verdictOf(error, mode) === "unknown";
      ring.record(context.name, tags, unknown ? "unknown" : "rollback");
      throw error;
    }
  }
}

/**
 * Prepares for retries only after a failure, because few transactions have one:
 * even the package that retries is loaded then.
 */
async function withRetries<T>(
  attempt: (nth: number) => Promise<T>,
  options: RetryOptions & {
    deadline: number;
    signal: AbortSignal | undefined;
    mayRetry(error: unknown): boolean;
  },
): Promise<T> {
  const { attempts, minDelayMs, maxDelayMs, deadline, signal } = options;
  const first = attempt(1);
  try {
    return await first;
  } catch (error) {
    if (error instanceof RejectedError) throw error;
  }
  const { default: pRetry } = await loadModule(() => import("p-retry"));
  return await pRetry((nth) => nth === 1 ? first : attempt(nth), {
    retries: attempts - 1,
    minTimeout: minDelayMs,
    maxTimeout: maxDelayMs,
    randomize: true,
    maxRetryTime: Math.max(0, deadline - performance.now()),
    shouldRetry: ({ error }) => options.mayRetry(error),
    ...(signal === undefined ? {} : { signal }),
  });
}

function outcomeOf(error: StreamStorageError): TransactionOutcome {
  if (error.outcome === "unknown") return "unknown";
  return error.code === "CANCELED" ? "canceled" : "rolled_back";
}
