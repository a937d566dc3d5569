/**
 * How long to wait for an answer.
 *
 * A half-open connection shows only by silence, so the wait for each part of an
 * answer is limited. Notices, notifications and parameters do not count as
 * parts: a server that sends them may still never answer. An answer that comes
 * drop by drop has a limit in all, which is several times as long.
 *
 * One timer serves many questions: setting and clearing one for each would cost
 * more than an occasional wake-up that finds nothing to do.
 */

/**
 * The limit of a whole answer, in multiples of the limit of a part. The server
 * itself ends a statement that takes too long, so this limit is for flushes of
 * several statements with many rows, and for slow networks.
 */
const slowFactor = 4;

/** A timer that is so late shows that the process was stopped, or too busy. */
const sleptMs = 100;

/** Why a wait was given up. */
export interface Lateness {
  reason: string;
  /** Since when nothing at all has come, if that is the reason. */
  silentSince: number | undefined;
}

/** Watches the oldest question of a session. */
export class AnswerTimer {
  readonly #onLate: (late: Lateness) => void;
  /** When anything last came, and when a part of the answer last came. */
  #receivedAt = performance.now();
  #answeredAt = 0;
  #since = 0;
  #withinMs: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = 0;

  constructor(onLate: (late: Lateness) => void) {
    this.#onLate = onLate;
  }

  /** When anything last came, in the time of `performance.now()`. */
  get receivedAt(): number {
    return this.#receivedAt;
  }

  /** Called for a question when no other one is open. */
  asked(withinMs: number): void {
    this.#receivedAt = performance.now();
    this.next(withinMs);
    const due = this.#receivedAt + withinMs;
    if (this.#timer !== undefined && this.#due <= due) return;
    this.clear();
    this.#checkIn(withinMs);
  }

  /** Called when the oldest question has changed, or none is left. */
  next(withinMs: number | undefined): void {
    this.#withinMs = withinMs;
    this.#since = this.#answeredAt = this.#receivedAt;
  }

  received(): void {
    this.#receivedAt = performance.now();
  }

  /** Called when the received bytes have a part of the answer. */
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
    // A process that slept must first read what came meanwhile.
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
