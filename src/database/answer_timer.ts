/**
 * How long an answer is waited for.
 *
 * A half-open connection shows only by silence, so a word of the answer is
 * waited for so long and no longer. Notices, notifications and parameters are no
 * part of it: a server that sends them can still owe the answer for ever. And
 * one whose answer comes drop by drop has a limit over all, some times as long.
 *
 * One timer serves many questions: setting and clearing one each time costs more
 * than a wake-up now and then that finds nothing to do.
 */

/**
 * So many times the time for a word is the time for the whole answer. The
 * server ends a statement that takes too long itself, so this is for several of
 * them with many rows, and for what a slow network has still to bring.
 */
const slowFactor = 4;

/** A timer that is so late tells of a process that was stopped, or too busy. */
const sleptMs = 100;

/** Why an answer is given up. */
export interface Lateness {
  reason: string;
  /** Since when nothing at all has come, if that is the reason. */
  silentSince: number | undefined;
}

/** Watches the oldest question of a session. */
export class AnswerTimer {
  readonly #onLate: (late: Lateness) => void;
  /** The last word of whatever kind, and of the answer. */
  #receivedAt = performance.now();
  #answeredAt = 0;
  #since = 0;
  #withinMs: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = 0;

  constructor(onLate: (late: Lateness) => void) {
    this.#onLate = onLate;
  }

  /** When anything came, as `performance.now()` tells it. */
  get receivedAt(): number {
    return this.#receivedAt;
  }

  /** Something was asked while nothing else was. */
  asked(withinMs: number): void {
    this.#receivedAt = performance.now();
    this.next(withinMs);
    const due = this.#receivedAt + withinMs;
    if (this.#timer !== undefined && this.#due <= due) return;
    this.clear();
    this.#checkIn(withinMs);
  }

  /** The oldest question is another one now, or none. */
  next(withinMs: number | undefined): void {
    this.#withinMs = withinMs;
    this.#since = this.#answeredAt = this.#receivedAt;
  }

  received(): void {
    this.#receivedAt = performance.now();
  }

  /** What was heard was a part of the answer. */
  answered(): void {
    this.#answeredAt = this.#receivedAt;
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #checkIn(ms: number): void {
    this.#due = performance.now() + ms;
    this.#timer = setTimeout(() => this.#check(), ms);
  }

  #check(): void {
    this.#timer = undefined;
    const withinMs = this.#withinMs;
    if (withinMs === undefined) return;
    const now = performance.now();
    const silence = now - this.#answeredAt;
    const total = now - this.#since;
    const left = Math.min(withinMs - silence, withinMs * slowFactor - total);
    if (left > 0) return this.#checkIn(left);
    // A process that slept has yet to read what was said meanwhile.
    if (now - this.#due > sleptMs) return this.#checkIn(10);
    this.#onLate(this.#lateness(now, withinMs));
  }

  #lateness(now: number, withinMs: number): Lateness {
    const silence = now - this.#answeredAt;
    const isSilent = now - this.#receivedAt >= withinMs;
    return {
      reason: silence >= withinMs
        ? `No answer from the server within ${Math.round(silence)} ms`
        : `No end of the answer within ${Math.round(now - this.#since)} ms`,
      silentSince: isSilent ? this.#receivedAt : undefined,
    };
  }
}
