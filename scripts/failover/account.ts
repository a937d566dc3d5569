import type { Outcome } from "../crash/ledger.ts";

/** Records when and how calls were answered. */
export class Account {
  /** The longest call, in milliseconds. */
  slowestMs = 0;
  /** The longest time in which no call was answered, in milliseconds. */
  stallMs = 0;
  /**
   * The longest time from one acknowledged write to the next, in milliseconds.
   */
  gapMs = 0;
  /** The longest time from one answered read to the next, in milliseconds. */
  readGapMs = 0;
  acknowledgedWrites = 0;
  reads = 0;
  /** Calls that failed, by code and reason. */
  readonly failures: Record<string, number> = {};
  /** Valid writes that the store has refused for good. */
  readonly refused: string[] = [];
  #answeredAt = performance.now();
  #acknowledgedAt = performance.now();
  #readAt = performance.now();
  #isRunning = false;

  /** Records whether calls are made from now on. */
  run(isRunning: boolean): void {
    if (this.#isRunning) this.#measure(performance.now());
    this.#isRunning = isRunning;
    const now = performance.now();
    this.#answeredAt = this.#acknowledgedAt = this.#readAt = now;
  }

  /** Records that a read has ended. */
  read(startedAt: number, failure?: string): void {
    this.reads++;
    if (failure === undefined) {
      const now = performance.now();
      this.readGapMs = Math.max(this.readGapMs, now - this.#readAt);
      this.#readAt = now;
    }
    this.#ended(startedAt, failure);
  }

  /** Records that a write has ended. */
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
