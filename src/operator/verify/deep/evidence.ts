/**
 * Whether a store's data are the protocol's at all. Blocks that were made for a
 * test or a demonstration are often any bytes, or carry other hashes than the
 * protocol's: such a store is not broken. So what does not fit is told only once
 * something of the same kind, anywhere in the store, was seen to fit. What is
 * never told for that reason is counted.
 */

/** Faults that wait to be told; see the file's head. */
export class Evidence<T> {
  #isSeen = false;
  #waiting: T[] = [];
  #dropped = 0;

  /** Whether something fitted. */
  get isSeen(): boolean {
    return this.#isSeen;
  }

  /** Nothing of many has fitted: there is no use in looking further. */
  get isHopeless(): boolean {
    return !this.#isSeen && this.#waiting.length >= maxWaiting;
  }

  /** Something fitted. */
  see(): void {
    this.#isSeen = true;
  }

  /** Faults that can't be told, because nothing has fitted. */
  get unreported(): number {
    return this.#dropped + this.#waiting.length;
  }

  /** Takes a fault that is told when `take` returns it. */
  add(fault: T): void {
    if (this.isHopeless) this.#dropped++;
    else this.#waiting.push(fault);
  }

  /** What can be told now, each once. */
  take(): T[] {
    if (!this.#isSeen) return [];
    const taken = this.#waiting;
    this.#waiting = [];
    return taken;
  }
}

const maxWaiting = 1000;
