/** The ways to crash: the server, the writer, and the network between them. */
import type { Checks } from "./checker.ts";
import type { Counts, Ledger, Outcome } from "./ledger.ts";

/** What is killed; of the network its connections are cut and healed. */
export const victims = ["server", "writer", "network"] as const;

/** What is done. */
export interface CrashOptions {
  /** What is killed. */
  victim: typeof victims[number];
  /** How often. */
  kills: number;
  /** Choices and payloads; the moments of the kills differ all the same. */
  seed: string;
  /** Streams that are written at the same time. */
  streams: number;
  /** Settings of the server, to see what it takes to lose a write. */
  settings?: Record<string, string>;
  /** Hears of each kill. */
  onKill?(nth: number): void;
}

/** What was found; that nothing was lost is told by there being a report. */
export interface CrashReport {
  victim: CrashOptions["victim"];
  seed: string;
  kills: number;
  /** Of these kills those that hit a server that was just coming back. */
  killsInRecovery: number;
  /** How a new writer found the last one, when it was not killed before. */
  takeovers: { fromAlive: number; fromFrozen: number };
  /** Partitions that cut single connections; the others cut all of them. */
  cutsOfConnections: number;
  calls: Counts;
  checks: Checks;
  /** The longest that a caller waited for the end of a call, in ms. */
  longestStallMs: number;
  /** The longest from a server, or writer, that is back to the next write. */
  longestRecoveryMs: number;
  elapsedMs: number;
}

/** A report of nothing yet. */
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

/** Adds what the callers of a store were told. */
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

/** How long the store may take to find back, in ms. */
export const recoveryLimitMs = 30_000;

/** Fails when it takes longer than {@linkcode recoveryLimitMs}. */
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

/** What the callers are told while it happens. */
export class Account {
  acknowledged = 0;
  longestStallMs = 0;
  #error: unknown;
  #isBroken = false;
  #waiting: { target: number; wake: () => void } | undefined;

  /** A call has ended. */
  end(outcome: Outcome, ms: number): void {
    this.longestStallMs = Math.max(this.longestStallMs, ms);
    if (outcome !== "acknowledged") return;
    this.acknowledged++;
    this.#check();
  }

  /** Whatever is waited for fails with this error. */
  break(error: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#error = error;
    this.#check();
  }

  /** Throws what broke. */
  throwIfBroken(): void {
    if (this.#isBroken) throw this.#error;
  }

  /** Waits for so many more acknowledged calls. */
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
