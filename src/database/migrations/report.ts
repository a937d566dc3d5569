/** What a migration run tells while it runs and when it is done. */

import type { SchemaState } from "./state.ts";
import type { TrackVersions } from "./numbers.ts";

/** What is going on; sent after each transaction and while waiting. */
export interface MigrationProgress {
  /** `waiting`: another process migrates the schema. */
  state: "waiting" | "running";
  /** What is being done, for people: `Migration up to version 8`. */
  activity: string;
  /** Transactions done. */
  done: number;
  /** Transactions to do; 0 while that is not known. */
  total: number;
  /** Milliseconds since the start. */
  elapsedMs: number;
}

/** Hears of a run's progress. */
export type ProgressListener = (progress: MigrationProgress) => void;

/** What a migration run did. */
export interface MigrationReport {
  /** The schema. */
  schema: string;
  /** The nodes' version before; 0 is nothing. */
  from: number;
  /** The nodes' version now. */
  to: number;
  /** The version of this module's own track before. */
  ownFrom: number;
  /** The version of this module's own track now. */
  ownTo: number;
  /** The number of partitions in force; undefined when none is left. */
  partitions: number | undefined;
  /** The nodes' versions applied, or taken back, in the order of the run. */
  appliedVersions: number[];
  /** Milliseconds that the run took, waiting included. */
  elapsedMs: number;
  /** What was not as asked, for people. */
  warnings: string[];
}

/** Keeps count of a run and tells a listener. */
export class RunProgress {
  /** What is being done, also for the text of an error. */
  activity = "Migration";
  readonly #started = performance.now();
  readonly #listener: ProgressListener | undefined;
  #done = 0;
  #total = 0;

  constructor(listener?: ProgressListener) {
    this.#listener = listener;
  }

  /** How many transactions there are to do. */
  expect(total: number): void {
    this.#total = total;
  }

  /** One transaction is done. */
  advance(): void {
    this.#done++;
    this.#notify("running");
  }

  /** Another process is at work. */
  wait(): void {
    this.#notify("waiting");
  }

  /** The run's report: from where it came to where the schema stands now. */
  report(
    schema: string,
    from: TrackVersions,
    state: Pick<SchemaState, "versions" | "partitions">,
  ): MigrationReport {
    return {
      schema,
      from: from.node,
      to: state.versions.node,
      ownFrom: from.own,
      ownTo: state.versions.own,
      partitions: state.partitions,
      appliedVersions: [],
      elapsedMs: this.#elapsedMs,
      warnings: [],
    };
  }

  get #elapsedMs(): number {
    return performance.now() - this.#started;
  }

  #notify(state: MigrationProgress["state"]): void {
    this.#listener?.({
      state,
      activity: this.activity,
      done: this.#done,
      total: this.#total,
      elapsedMs: this.#elapsedMs,
    });
  }
}
