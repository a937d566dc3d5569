/**
 * Whether a store's data have hashes and links at all. Blocks that were made for
 * a test or a demonstration often carry others than the protocol's, or none that
 * fit: such a store is not broken. So what does not fit is told only once
 * something of the same kind, anywhere in the store, was seen to fit.
 */

/** Faults that wait to be told; see the file's head. */
export class Evidence<T> {
  #isSeen = false;
  #waiting: T[] = [];

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

  /** Takes a fault that is told when `take` returns it. */
  add(fault: T): void {
    if (this.#waiting.length < maxWaiting || this.#isSeen) {
      this.#waiting.push(fault);
    }
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
