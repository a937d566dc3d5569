/**
 * The parts of the model of re-fencing (model.ts): the rules, the invariants, the
 * bounds and the states.
 */
import type { Step as ModelStep } from "./explore.ts";

/** The rules of the protocol; without one of them it must break. */
export interface Rules {
  /** A lost write is run again only after a re-fence. */
  refenceBeforeRetry: boolean;
  /** A lost write is looked for only after a re-fence. */
  refenceBeforeLook: boolean;
  /** While the store is in doubt, no other write is sent. */
  refenceBeforeLaterWrites: boolean;
  /** A write that was reported as unknown leaves the store in doubt. */
  refenceBeforeNextContactAfterUnknown: boolean;
  /** The fence compares the row's time, not only its name. */
  fenceComparesEpoch: boolean;
  /** The fence keeps the row from being changed until the write has ended. */
  fenceHoldsShareLock: boolean;
  /** The server lets a change of the row wait for those who share it. */
  updateWaitsForShareLocks: boolean;
  /** A re-fence never sends a time that was sent before. */
  epochIsNew: boolean;
  /** A re-fence changes only a row with an earlier time. */
  refenceOnlyRaises: boolean;
  /** A re-fence changes any time that a lost one of this owner may have set. */
  refenceCoversLostRefence: boolean;
  /** A re-fence changes no time from before this owner's first. */
  refenceStartsAtBase: boolean;
  /** A re-fence never adds a row. */
  refenceNeverInserts: boolean;
  /** An instance that finds its row gone stops. */
  stopWhenRowGone: boolean;
  /** An owner whose write is refused stops only if a re-fence finds no row. */
  refenceDecides: boolean;
  /** After a re-fence, a write in flight is run again only if it was refused. */
  rerunOnlyWhenRefused: boolean;
  /** After a re-fence, a lost write is run again only if it is not there. */
  lookBeforeRetry: boolean;
  /** The look counts only if its snapshot shows the owner's row, too. */
  lookIsFenced: boolean;
  /** The look's snapshot is taken after the re-fence has waited. */
  lookTakesNewSnapshot: boolean;
  /** The check that the row is still ours allows for a lost re-fence. */
  watchCoversLostRefence: boolean;
  /** A successor's time is none that its predecessor may ever send. */
  successorIsApart: boolean;
}

/** The protocol as it is. */
export const allRules: Rules = {
  refenceBeforeRetry: true,
  refenceBeforeLook: true,
  refenceBeforeLaterWrites: true,
  refenceBeforeNextContactAfterUnknown: true,
  fenceComparesEpoch: true,
  fenceHoldsShareLock: true,
  updateWaitsForShareLocks: true,
  epochIsNew: true,
  refenceOnlyRaises: true,
  refenceCoversLostRefence: true,
  refenceStartsAtBase: true,
  refenceNeverInserts: true,
  stopWhenRowGone: true,
  refenceDecides: true,
  rerunOnlyWhenRefused: true,
  lookBeforeRetry: true,
  lookIsFenced: true,
  lookTakesNewSnapshot: true,
  watchCoversLostRefence: true,
  successorIsApart: true,
};

/** The invariants, which hold in every state. */
export const invariants = {
  /** No write commits after it has settled, or after a later write. */
  settledIsFinal: "a settled write is final",
  /** A write is reported as done only if it was, and as failed only if not. */
  reportsAreTrue: "a report is true",
  /** No write commits twice. */
  onlyOnce: "a write is done once",
  /** No write of a former owner commits beside its successor's row. */
  formerOwnersAreOut: "a former owner writes nothing",
  /** No instance stops before it was replaced. */
  ownerGoesOn: "an owner goes on",
  /** No write that follows a re-fence passes the fence before it. */
  refenceIsNext: "a re-fence waits only for older writes",
  /** The table has one row. */
  oneRow: "there is one row",
  /** The row's time only grows. */
  epochGrows: "the epoch grows",
} as const;

/** The bounds of the exploration. */
export interface Bounds {
  /**
   * The times of the instances' first rows. A successor's may be earlier, because
   * its clock is another one. They are above 0 and 16 apart, because each of the
   * fewer than 16 re-fences adds 1.
   */
  times: readonly number[];
  /** For each instance the number of its writes to each stream. */
  writes: readonly (readonly number[])[];
  /** The number of lost answers, of writes, re-fences and takeovers together. */
  losses: number;
  /** The number of lost flushes that the network may deliver at any time. */
  late: number;
  /** The number of failovers to a standby that lacks only the last re-fence. */
  failovers: number;
}

/** The state of a write in its instance. */
export type Status =
  // It was never sent.
  | "waiting"
  // It was sent, and not done.
  | "again"
  | "sent"
  | "lost"
  // Reported to the caller.
  | "done"
  | "failed"
  | "unknown";

/** All statuses, for the key. */
export const statuses: Status[] = [
  "waiting",
  "again",
  "sent",
  "lost",
  "done",
  "failed",
  "unknown",
];

/** What an instance knows about a write, and whether the write was done. */
export interface Write {
  status: Status;
  /** The epoch of its last flush. */
  epoch: number;
  isCommitted: boolean;
}

/** The state of an instance. */
export type Phase = "idle" | "starting" | "owner" | "stopped";
/** All phases, for the key. */
const phases: Phase[] = ["idle", "starting", "owner", "stopped"];

/** One process. */
export interface Instance {
  phase: Phase;
  /** The first time of its row. */
  base: number;
  /** The time that its writes send: the last one that was acknowledged. */
  epoch: number;
  /** The highest time that it has sent. */
  top: number;
  /** A write with the present time was refused. */
  isRefused: boolean;
  streams: readonly (readonly Write[])[];
}

/** The purpose of a flush. */
export type Kind = "write" | "refence" | "takeover";
/** All kinds, for the key. */
export const kinds: Kind[] = ["write", "refence", "takeover"];
/** Where a flush is. */
export type Stage =
  // Between its sender and the server, or waiting there for a lock.
  | "network"
  // It has its snapshot, and no lock; used only without lookTakesNewSnapshot.
  | "arrived"
  // It has its row lock, and can commit.
  | "locked"
  // Its answer is on its way.
  | "done"
  | "refused";
/** All stages, for the key. */
const stages: Stage[] = [
  "network",
  "arrived",
  "locked",
  "done",
  "refused",
];

/** One transaction. */
export interface Flush {
  by: number;
  kind: Kind;
  stream: number;
  nth: number;
  epoch: number;
  /** The lowest time that a re-fence changes. */
  from: number;
  /** The highest time that a re-fence changes. */
  to: number;
  stage: Stage;
  /** Its sender still waits for the answer. */
  isAwaited: boolean;
  /** It was sent after a re-fence. */
  isAfterRefence: boolean;
  /** The streams' values when a re-fence began. */
  seen: readonly number[];
}

/** A row of the owners' table. */
export interface Row {
  by: number;
  epoch: number;
}

/** A state of the whole model. */
export interface State {
  rows: readonly Row[];
  /** The last write of each stream, by `rankOf`; 0 means none. */
  values: readonly number[];
  instances: readonly Instance[];
  flushes: readonly Flush[];
  /** The last commit was a re-fence: a standby may lack it alone. */
  isRefenceLast: boolean;
  lossesLeft: number;
  lateLeft: number;
  failoversLeft: number;
}

/** A step of this model. */
export type Step = ModelStep<State>;

/** The value that a write gives to its stream; never 0. */
export const rankOf = ({ id, nth }: Place) => id * 8 + nth + 1;

/** Whether a stream's value is from a later write of the same instance. */
export const isLaterThan = (value: number, place: Place) =>
  value > rankOf(place) && value < rankOf({ ...place, nth: 7 });

/** Whether the write was reported to the caller. */
export const isSettled = ({ status }: Write) =>
  status === "done" || status === "failed" || status === "unknown";

/** Identifies a write. */
export interface Place {
  id: number;
  stream: number;
  nth: number;
}

/** The name of a write in traces: instance, stream, number. */
export const nameOf = ({ id, stream, nth }: Place) =>
  `${id}'s write ${"ab"[stream]}${nth + 1}`;

/** The write of a flush. */
export const placeOf = ({ by, stream, nth }: Flush): Place => ({
  id: by,
  stream,
  nth,
});

/** A step that breaks nothing. */
export const step = (name: string, next: State, isFault = false): Step => ({
  name,
  isFault,
  next,
});

/** Whether there is one row, with a time within these. */
export function isOurs({ rows }: State, from: number, to: number): boolean {
  const [row, second] = rows;
  return row !== undefined && second === undefined && from <= row.epoch &&
    row.epoch <= to;
}

/** The state with a changed instance. */
export function patch(
  state: State,
  id: number,
  change: Partial<Instance>,
): State {
  const instances = state.instances.with(id, {
    ...state.instances[id]!,
    ...change,
  });
  return { ...state, instances };
}

/** The state with a changed write. */
export function patchWrite(
  state: State,
  { id, stream, nth }: Place,
  change: Partial<Write>,
): State {
  const { streams } = state.instances[id]!;
  const writes = streams[stream]!;
  const changed = writes.with(nth, { ...writes[nth]!, ...change });
  return patch(state, id, { streams: streams.with(stream, changed) });
}

/** The state with a changed flush, or without it. */
export function patchFlush(
  state: State,
  flush: Flush,
  change: Partial<Flush> | undefined,
): State {
  const others = state.flushes.filter((other) => other !== flush);
  const flushes = change === undefined
    ? others
    : [...others, { ...flush, ...change }];
  return { ...state, flushes };
}

/** The state with one more flush in the network. */
export function send(
  state: State,
  flush: Partial<Flush> & Pick<Flush, "by" | "kind">,
): State {
  const sent: Flush = {
    stream: 0,
    nth: 0,
    epoch: 0,
    from: 0,
    to: 0,
    stage: "network",
    isAwaited: true,
    isAfterRefence: false,
    seen: [],
    ...flush,
  };
  return { ...state, flushes: [...state.flushes, sent] };
}

/**
 * The state after a sender has given up its flush. The server still executes a
 * flush that has arrived, and the network may deliver one late that has not.
 */
export function abandon(state: State, flush: Flush, isLate: boolean): State {
  const isGone = flush.stage === "done" || flush.stage === "refused" ||
    flush.stage === "network" && !isLate;
  return patchFlush(state, flush, isGone ? undefined : { isAwaited: false });
}

/** Whether a flush of the write may exist, so that its epoch matters. */
const hasFlush = (status: Status) =>
  status === "sent" || status === "lost" || status === "unknown";

const codeOf = <T>(part: T, encode: (part: T) => number[]): string =>
  String.fromCharCode(...encode(part));

const instanceCode = (
  { phase, base, epoch, top, isRefused, streams }: Instance,
) => [
  phases.indexOf(phase) * 2 + Number(isRefused),
  base,
  epoch,
  top,
  ...streams.flat().flatMap(({ status, epoch, isCommitted }) => [
    statuses.indexOf(status) * 2 + Number(isCommitted),
    hasFlush(status) ? epoch : 0,
  ]),
];

const flushCode = (flush: Flush) => [
  flush.by * 4 + kinds.indexOf(flush.kind),
  flush.stream * 16 + flush.nth,
  flush.epoch,
  flush.from,
  flush.to,
  stages.indexOf(flush.stage) * 4 + Number(flush.isAwaited) * 2 +
  Number(flush.isAfterRefence),
  ...flush.seen,
];

/** Equal for equal states only: the order of the flushes is no part of them. */
export function keyOf(state: State): string {
  const { rows, values, instances, flushes } = state;
  let key = String.fromCharCode(
    Number(state.isRefenceLast),
    state.lossesLeft,
    state.lateLeft,
    state.failoversLeft,
    rows.length,
    ...values,
  );
  for (const { by, epoch } of rows) key += String.fromCharCode(by, epoch);
  for (const one of instances) key += codeOf(one, instanceCode);
  const sent = flushes.map((flush) => codeOf(flush, flushCode)).sort();
  for (const code of sent) key += code;
  return key;
}
