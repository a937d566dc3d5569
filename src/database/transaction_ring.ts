/** What happened to a transaction. */
export type TransactionEvent =
  | "begin"
  | "retry"
  | "commit"
  | "rollback"
  | "unknown";

/** One line of the ring. */
export interface TransactionRecord {
  /** The transaction's name, for example `writeMiniblocks`. */
  name: string;
  /** What it was about, for example the stream. */
  tags: string;
  /** The event. */
  event: TransactionEvent;
  /** Milliseconds since it happened. */
  ageMs: number;
}

/** Keeps the last transaction events, for debugging; off by default. */
export class TransactionRing {
  readonly #size: number;
  #entries: {
    name: string;
    tags: string;
    event: TransactionEvent;
    at: number;
  }[] = [];
  #next = 0;
  enabled = false;

  constructor(size = 1024) {
    this.#size = size;
  }

  record(name: string, tags: string, event: TransactionEvent): void {
    if (!this.enabled) return;
    this.#entries[this.#next] = { name, tags, event, at: performance.now() };
    this.#next = (this.#next + 1) % this.#size;
  }

  /** The recorded events, oldest first. */
  dump(): TransactionRecord[] {
    const now = performance.now();
    const entries = [
      ...this.#entries.slice(this.#next),
      ...this.#entries.slice(0, this.#next),
    ];
    return entries.map(({ at, ...entry }) => ({ ...entry, ageMs: now - at }));
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries = [];
    this.#next = 0;
  }
}
