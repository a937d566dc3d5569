/**
 * PostgreSQL's part of the model of re-fencing: the locks of the owner's row, the
 * fence and the commit.
 *
 * A flush that waits for a row lock has no step until the lock is free. Then it
 * sees the row's present version, as under READ COMMITTED.
 */
import {
  type Flush,
  invariants,
  isLaterThan,
  isOurs,
  nameOf,
  patch,
  patchFlush,
  patchWrite,
  placeOf,
  rankOf,
  type Row,
  type Rules,
  type State,
  type Step,
  step,
} from "./state.ts";

/** The server's steps with a flush, which can come in any order. */
export class FenceServer {
  readonly #rules: Rules;
  readonly #times: readonly number[];

  constructor(rules: Rules, times: readonly number[]) {
    this.#rules = rules;
    this.#times = times;
  }

  /** The steps that are possible with a flush now. */
  steps(state: State, flush: Flush): Step[] {
    const { stage, isAwaited } = flush;
    const name = flushName(flush);
    // A flush whose sender has given up may never arrive.
    const isFault = !isAwaited;
    if (stage === "network" && isRefenceWithSnapshot(flush, this.#rules)) {
      const next = patchFlush(state, flush, {
        stage: "arrived",
        seen: state.values,
      });
      return [step(`${name} takes its snapshot`, next, isFault)];
    }
    if (stage === "network" || stage === "arrived") {
      return flush.kind === "write"
        ? this.#fence(state, flush, isFault)
        : this.#lockRow(state, flush, isFault);
    }
    if (stage !== "locked") return [];
    const commit = this.#commit(state, flush);
    if (isAwaited) return [commit];
    const aborted = patchFlush(state, flush, undefined);
    return [commit, step(`${name} is rolled back`, aborted)];
  }

  /** Waits until no change of the row is pending, and then checks the row. */
  #fence(state: State, flush: Flush, isFault: boolean): Step[] {
    if (hasExclusiveLock(state)) return [];
    const { fenceComparesEpoch } = this.#rules;
    const name = flushName(flush);
    const isOpen = fenceComparesEpoch
      ? isOurs(state, flush.epoch, flush.epoch)
      : state.rows.length === 1;
    if (!isOpen) return [refuse(state, flush, isFault)];
    const next = patchFlush(state, flush, { stage: "locked" });
    const broken = flush.isAfterRefence ? invariants.refenceIsNext : undefined;
    return [{ ...step(`${name} passes the fence`, next, isFault), broken }];
  }

  /** Waits for the transactions that share the row, and then changes it. */
  #lockRow(state: State, flush: Flush, isFault: boolean): Step[] {
    if (hasExclusiveLock(state) || this.#hasShareLock(state)) return [];
    const { refenceNeverInserts } = this.#rules;
    const isFound = flush.kind === "takeover" ||
      state.rows.some((row) => isChanged(row, flush));
    if (!isFound && refenceNeverInserts) return [refuse(state, flush, isFault)];
    const next = patchFlush(state, flush, { stage: "locked" });
    return [step(`${flushName(flush)} has the row`, next, isFault)];
  }

  #hasShareLock({ flushes }: State): boolean {
    const { fenceHoldsShareLock, updateWaitsForShareLocks } = this.#rules;
    return fenceHoldsShareLock && updateWaitsForShareLocks &&
      flushes.some(({ kind, stage }) => kind === "write" && stage === "locked");
  }

  #commit(state: State, flush: Flush): Step {
    const isRefenceLast = flush.kind === "refence";
    const ended = patchFlush(
      { ...state, isRefenceLast },
      flush,
      flush.isAwaited ? { stage: "done" } : undefined,
    );
    const name = `${flushName(flush)} commits`;
    if (flush.kind === "write") return commitWrite(ended, flush, name);
    if (flush.kind === "takeover") {
      return step(name, this.#takeOver(ended, flush));
    }
    const isSunk = state.rows.some((row) =>
      isChanged(row, flush) && row.epoch > flush.epoch
    );
    const rows = ended.rows.map((row) =>
      isChanged(row, flush) ? { ...row, epoch: flush.epoch } : row
    );
    if (!state.rows.some((row) => isChanged(row, flush))) {
      rows.push({ by: flush.by, epoch: flush.epoch });
    }
    const broken = isSunk
      ? invariants.epochGrows
      : rows.length > 1
      ? invariants.oneRow
      : undefined;
    return { ...step(name, { ...ended, rows }), broken };
  }

  /** The successor's row replaces all others. It learns its time by the answer. */
  #takeOver(state: State, flush: Flush): State {
    const last = Math.max(0, ...state.rows.map(({ epoch }) => epoch));
    const epoch = this.#rules.successorIsApart
      ? this.#times[flush.by]!
      : last + 1;
    const next = patch(state, flush.by, { base: epoch, epoch, top: epoch });
    return { ...next, rows: [{ by: flush.by, epoch }] };
  }
}

/** The flush does nothing. Its sender gets an answer if it still waits. */
function refuse(state: State, flush: Flush, isFault: boolean): Step {
  const next = patchFlush(
    state,
    flush,
    flush.isAwaited ? { stage: "refused" } : undefined,
  );
  return step(`${flushName(flush)} finds no row of its own`, next, isFault);
}

/** The write commits; the step is broken if an invariant forbids that. */
function commitWrite(state: State, flush: Flush, name: string): Step {
  const place = placeOf(flush);
  const { by, stream, nth } = flush;
  const one = state.instances[by]!;
  const { status, isCommitted } = one.streams[stream]![nth]!;
  const rank = rankOf(place);
  const values = state.values.with(stream, rank);
  const next = patchWrite({ ...state, values }, place, { isCommitted: true });
  const isLate = status === "done" || status === "failed" ||
    status === "unknown" && flush.epoch < one.epoch ||
    isLaterThan(state.values[stream]!, place);
  const isFormer = state.rows.some((row) => row.by !== by);
  const broken = isFormer
    ? invariants.formerOwnersAreOut
    : isLate
    ? invariants.settledIsFinal
    : isCommitted
    ? invariants.onlyOnce
    : undefined;
  return { ...step(name, next), broken };
}

/** Whether a re-fence changes this row. */
const isChanged = ({ epoch }: Row, { from, to }: Flush) =>
  from <= epoch && epoch <= to;

const hasExclusiveLock = ({ flushes }: State) =>
  flushes.some(({ kind, stage }) => kind !== "write" && stage === "locked");

const isRefenceWithSnapshot = ({ kind }: Flush, rules: Rules) =>
  kind === "refence" && !rules.lookTakesNewSnapshot;

/** The name of a flush in traces. */
export function flushName(flush: Flush): string {
  const { by, kind, epoch, isAwaited } = flush;
  const what = kind === "write"
    ? `${nameOf(placeOf(flush))} of time ${epoch}`
    : kind === "refence"
    ? `${by}'s re-fence ${epoch}`
    : `${by}'s takeover`;
  return isAwaited ? what : `the lost copy of ${what}`;
}
