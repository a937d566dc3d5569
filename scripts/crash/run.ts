/**
 * What all runs share, whether they crash the server, the writer or the
 * network.
 */
import type { Checks } from "./checker.ts";
import type { Counts, Ledger, Outcome } from "./ledger.ts";

/**
 * What a run kills. A run that kills the network cuts connections and heals
 * them.
 */
export const victims = ["server", "writer", "network"] as const;

/** How a run goes. */
export interface CrashOptions {
  /** What the run kills. */
  victim: typeof victims[number];
  /** How many times. */
  kills: number;
  /** Determines choices and payloads, but not the moments of the kills. */
  seed: string;
  /** Streams that are written at the same time. */
  streams: number;
  /** Settings of the server, with which one can see what loses writes. */
  settings?: Record<string, string>;
  /** Called after each kill. */
  onKill?(nth: number): void;
}

/** The result of a run. A run that finds a lost write throws instead. */
export interface CrashReport {
  victim: CrashOptions["victim"];
  seed: string;
  kills: number;
  /** How many of the kills hit a server that was recovering. */
  killsInRecovery: number;
  /** How many writers were alive or frozen when the next one took over. */
  takeovers: { fromAlive: number; fromFrozen: number };
  /** How many partitions cut single connections; the others cut all of them. */
  cutsOfConnections: number;
  calls: Counts;
  checks: Checks;
  /** The longest call, in milliseconds. */
  longestStallMs: number;
  /**
   * The longest time from the return of the server or writer to the next write.
   */
  longestRecoveryMs: number;
  elapsedMs: number;
}

/** Makes an empty report. */
export function newReport(
  victim: CrashOptions["victim"],
  seed: string,
): CrashReport {
  return {
    victim,
    seed,
    kills: 0,
    killsInRecovery: 0,
    takeovers: { fromAlive: 0, fromFrozen: 0 },
    cutsOfConnections: 0,
    calls: { acknowledged: 0, failed: 0, unknown: { there: 0, absent: 0 } },
    checks: { rounds: 0, streams: 0, rows: 0, bytes: 0 },
    longestStallMs: 0,
    longestRecoveryMs: 0,
    elapsedMs: 0,
  };
}

/** Adds the results of a store's calls. */
export function addCalls(
  report: CrashReport,
  { counts: { acknowledged, failed, unknown } }: Ledger,
  { longestStallMs }: Account,
): void {
  const { calls } = report;
  calls.acknowledged += acknowledged;
  calls.failed += failed;
  calls.unknown.there += unknown.there;
  calls.unknown.absent += unknown.absent;
  report.longestStallMs = Math.max(report.longestStallMs, longestStallMs);
}

/** How long the store may take to recover, in milliseconds. */
export const recoveryLimitMs = 30_000;

/** Waits for the work; fails after {@linkcode recoveryLimitMs}. */
export async function inTime<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what} within ${recoveryLimitMs} ms`)),
      recoveryLimitMs,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Counts the results of calls during a run. */
export class Account {
  acknowledged = 0;
  longestStallMs = 0;
  #error: unknown;
  #isBroken = false;
  #waiting: { target: number; wake: () => void } | undefined;

  /** Records that a call has ended. */
  end(outcome: Outcome, ms: number): void {
    this.longestStallMs = Math.max(this.longestStallMs, ms);
    if (outcome !== "acknowledged") return;
    this.acknowledged++;
    this.#check();
  }

  /** Makes everything that waits for calls fail with this error. */
  break(error: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#error = error;
    this.#check();
  }

  /** Throws the error of `break`, if there is one. */
  throwIfBroken(): void {
    if (this.#isBroken) throw this.#error;
  }

  /** Waits until this many more calls are acknowledged. */
  async more(calls: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting = { target: this.acknowledged + calls, wake: resolve };
    this.#check();
    await inTime("Expected writes to succeed", promise);
    this.throwIfBroken();
  }

  #check(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    if (this.#isBroken || this.acknowledged >= waiting.target) waiting.wake();
  }
}
