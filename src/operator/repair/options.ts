/** What repairs, and taking them back, are asked to do and report. */

import type { OwnerOptions } from "./owner.ts";
import type { Repair } from "./plan.ts";

/** What {@linkcode applyRepairs} needs to know. */
export interface ApplyRepairsOptions extends OwnerOptions {
  /** The file that takes it back; it must not be there yet. It holds payload. */
  undoFile: string;
  /** Called after each repair. */
  onProgress?: (result: RepairResult) => void;
}

/** What {@linkcode undoRepairs} needs to know. */
export interface UndoRepairsOptions extends OwnerOptions {
  /** Called after each change. */
  onProgress?: (result: UndoResult) => void;
}

/** What became of one repair. */
export interface RepairResult {
  /** The repair. */
  readonly repair: Repair;
  /**
   * `done`; `not_needed`, nothing was left to do; `changed`, the stream is not as
   * it was found, so nothing was done; `by_hand`, nothing was planned.
   */
  readonly outcome: "done" | "not_needed" | "changed" | "by_hand";
  /** Rows that were removed or written. */
  readonly rows: number;
}

/** What became of taking one change back. */
export interface UndoResult {
  /** The stream. */
  readonly streamId: string;
  /** The change. */
  readonly change: "rows" | "marker" | "pointer";
  /**
   * `done`; `not_needed`, all was as before already; `changed`, a stream of this
   * id was made meanwhile, or was changed, so nothing was done.
   */
  readonly outcome: "done" | "not_needed" | "changed";
  /** Rows that were written. */
  readonly rows: number;
}
