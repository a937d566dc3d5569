/** Options and results of repairing and of undoing repairs. */

import type { OwnerOptions } from "./owner.ts";
import type { Repair } from "./plan.ts";

/** The options of {@linkcode applyRepairs}. */
export interface ApplyRepairsOptions extends OwnerOptions {
  /**
   * The file from which the repairs can be undone. It must not exist yet. It
   * will hold payload.
   */
  undoFile: string;
  /** Called after each repair. */
  onProgress?: (result: RepairResult) => void;
}

/** The options of {@linkcode undoRepairs}. */
export interface UndoRepairsOptions extends OwnerOptions {
  /** Called after each change. */
  onProgress?: (result: UndoResult) => void;
}

/** The result of one repair. */
export interface RepairResult {
  /** The repair. */
  readonly repair: Repair;
  /**
   * `done`; `not_needed`: nothing was left to do; `changed`: the stream has
   * changed since it was examined, so nothing was done; `by_hand`: nothing was
   * planned.
   */
  readonly outcome: "done" | "not_needed" | "changed" | "by_hand";
  /** Rows that were removed or written. */
  readonly rows: number;
}

/** The result of undoing one change. */
export interface UndoResult {
  /** The stream. */
  readonly streamId: string;
  /** The change. */
  readonly change: "rows" | "marker" | "pointer";
  /**
   * `done`; `not_needed`: the old state was there already; `changed`: a stream
   * with this id was made or changed meanwhile, so nothing was done.
   */
  readonly outcome: "done" | "not_needed" | "changed";
  /** Rows that were written. */
  readonly rows: number;
}
