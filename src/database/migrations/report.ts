/** What a migration run reports while it runs and at its end. */

import type { SchemaState } from "./state.ts";
import type { TrackVersions } from "./numbers.ts";

/** The progress of a run; reported after each transaction and while waiting. */
export interface MigrationProgress {
  /** `waiting`: another process migrates the schema. */
  state: "waiting" | "running";
  /** The present activity, for people: `Migration up to version 8`. */
  activity: string;
  /** Transactions done. */
  done: number;
  /** Transactions in all; 0 while that is unknown. */
  total: number;
  /** Milliseconds since the start. */
  elapsedMs: number;
}

/** Receives the progress of a run. */
export type ProgressListener = (progress: MigrationProgress) => void;

/** What a migration run did. */
export interface MigrationReport {
  /** The schema. */
  schema: string;
  /** The nodes' version before the run; 0 is none. */
  from: number;
  /** The nodes' version now. */
  to: number;
  /** The version of this module's own track before. */
  ownFrom: number;
  /** The version of this module's own track now. */
  ownTo: number;
  /** The number of partitions; undefined when none is left. */
  partitions: number | undefined;
  /** The nodes' versions applied, or taken back, in the order of the run. */
  appliedVersions: number[];
  /** The duration of the run in milliseconds, including waits. */
  elapsedMs: number;
  /** Deviations from the request, for people. */
  warnings: string[];
}

/** Counts the transactions of a run and reports its progress. */
export class RunProgress {
  /** The present activity, also for the text of an error. */
  activity = "Migration";
  readonly #started = performance.now();
  readonly #listener: ProgressListener | undefined;
  #done = 0;
  #total = 0;

  constructor(listener?: ProgressListener) {
    this.#listener = listener;
  }

  /** Sets the number of transactions. */
  expect(total: number): void {
    this.#total = total;
  }

  /** Called after a transaction. */
  advance(): void {
    this.#done++;
    this.#notify("running");
  }

  /** Called while another process migrates. */
  wait(): void {
    this.#notify("waiting");
  }

  /** The run's report: from the first version to the schema's state now. */
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
