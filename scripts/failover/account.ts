import type { Outcome } from "../crash/ledger.ts";

/** When calls were answered, and how. */
export class Account {
  /** The longest that one caller waited, in ms. */
  slowestMs = 0;
  /** The longest in which no call was answered, in ms. */
  stallMs = 0;
  /** The longest from one acknowledged write to the next, in ms. */
  gapMs = 0;
  /** The longest from one answered read to the next, in ms. */
  readGapMs = 0;
  acknowledgedWrites = 0;
  reads = 0;
  /** Calls that failed, by code and reason. */
  readonly failures: Record<string, number> = {};
  /** Writes that were due and are refused for good. */
  readonly refused: string[] = [];
  #answeredAt = performance.now();
  #acknowledgedAt = performance.now();
  #readAt = performance.now();
  #isRunning = false;

  /** Calls are made from now on, or none are. */
  run(isRunning: boolean): void {
    if (this.#isRunning) this.#measure(performance.now());
    this.#isRunning = isRunning;
    const now = performance.now();
    this.#answeredAt = this.#acknowledgedAt = this.#readAt = now;
  }

  /** A read has ended. */
  read(startedAt: number, failure?: string): void {
    this.reads++;
    if (failure === undefined) {
      const now = performance.now();
      this.readGapMs = Math.max(this.readGapMs, now - this.#readAt);
      this.#readAt = now;
    }
    this.#ended(startedAt, failure);
  }

  /** A write has ended. */
  wrote(startedAt: number, outcome: Outcome, failure?: string): void {
    if (outcome === "acknowledged") {
      this.acknowledgedWrites++;
      const now = performance.now();
      this.gapMs = Math.max(this.gapMs, now - this.#acknowledgedAt);
      this.#acknowledgedAt = now;
    }
    this.#ended(startedAt, failure);
  }

  #ended(startedAt: number, failure: string | undefined): void {
    const now = performance.now();
    this.slowestMs = Math.max(this.slowestMs, now - startedAt);
    this.stallMs = Math.max(this.stallMs, now - this.#answeredAt);
    this.#answeredAt = now;
    if (failure === undefined) return;
    this.failures[failure] = (this.failures[failure] ?? 0) + 1;
  }

  #measure(now: number): void {
    this.stallMs = Math.max(this.stallMs, now - this.#answeredAt);
    this.gapMs = Math.max(this.gapMs, now - this.#acknowledgedAt);
    this.readGapMs = Math.max(this.readGapMs, now - this.#readAt);
  }
}
