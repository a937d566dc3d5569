/**
 * Decides whether a store's data follow the protocol at all. Blocks that were
 * made for a test or a demonstration are often arbitrary bytes, or carry other
 * hashes than the protocol's. Such a store is not broken. So a fault is
 * reported only once something of the same kind, anywhere in the store, was
 * seen to be right. Faults that are never reported for that reason are counted.
 */

/** Faults that wait to be reported; see the file's head. */
export class Evidence<T> {
  #isSeen = false;
  #waiting: T[] = [];
  #dropped = 0;

  /** Whether something was right. */
  get isSeen(): boolean {
    return this.#isSeen;
  }

  /** Whether none of many was right, so that looking further is pointless. */
  get isHopeless(): boolean {
    return !this.#isSeen && this.#waiting.length >= maxWaiting;
  }

  /** Notes that something was right. */
  see(): void {
    this.#isSeen = true;
  }

  /** The number of faults that are not reported, because nothing was right. */
  get unreported(): number {
    return this.#dropped + this.#waiting.length;
  }

  /** Adds a fault, to be reported when `take` returns it. */
  add(fault: T): void {
    if (this.isHopeless) this.#dropped++;
    else this.#waiting.push(fault);
  }

  /** Returns the faults that can be reported now, each once. */
  take(): T[] {
    if (!this.#isSeen) return [];
    const taken = this.#waiting;
    this.#waiting = [];
    return taken;
  }
}

const maxWaiting = 1000;
