/** What a migration run tells while it runs and when it is done. */

/** What is going on; sent after each transaction and while waiting. */
export interface MigrationProgress {
  /** `waiting`: another process migrates the schema. */
  state: "waiting" | "running";
  /** What was just done, for people: `up to version 8`. Empty if waiting. */
  step: string;
  /** Transactions done. */
  done: number;
  /** Transactions to do; 0 while that is not known. */
  total: number;
  /** Milliseconds since the start. */
  elapsedMs: number;
}

/** What a migration run did. */
export interface MigrationReport {
  schema: string;
  /** The nodes' version before and after; 0 is nothing. */
  from: number;
  to: number;
  /** The same of this module's own track. */
  ownFrom: number;
  ownTo: number;
  /** The number of partitions in force; undefined when none is left. */
  partitions: number | undefined;
  /** The nodes' versions applied, or taken back, in that order. */
  appliedVersions: number[];
  /** Milliseconds that the run took, waiting included. */
  elapsedMs: number;
  /** What was not as asked, for people. */
  warnings: string[];
}

/** Tells of progress when somebody listens. */
export class ProgressTeller {
  readonly #started = performance.now();
  readonly #listener: ((progress: MigrationProgress) => void) | undefined;
  #done = 0;
  #total = 0;

  constructor(listener: ((progress: MigrationProgress) => void) | undefined) {
    this.#listener = listener;
  }

  /** Milliseconds since the start. */
  get elapsedMs(): number {
    return performance.now() - this.#started;
  }

  /** How many transactions there are to do. */
  expect(total: number): void {
    this.#total = total;
  }

  /** One transaction is done. */
  advance(step: string): void {
    this.#done++;
    this.#tell("running", step);
  }

  /** Another process is at work. */
  wait(): void {
    this.#tell("waiting", "");
  }

  #tell(state: MigrationProgress["state"], step: string): void {
    this.#listener?.({
      state,
      step,
      done: this.#done,
      total: this.#total,
      elapsedMs: this.elapsedMs,
    });
  }
}
