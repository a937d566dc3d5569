/**
 * The model of re-fencing (fence_model.ts): its rules, the invariants, the bounds
 * and the states.
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

/** They hold in every state. */
export const invariants = {
  /** No write commits that was settled, or that a later one followed. */
  settledIsFinal: "a settled write is final",
  /** A write is reported as done only if it is, as not done only if not. */
  reportsAreTrue: "a report is true",
  /** No write commits twice. */
  onlyOnce: "a write is done once",
  /** No write of a former owner commits beside its successor's row. */
  formerOwnersAreOut: "a former owner writes nothing",
  /** No instance stops that has not been replaced. */
  ownerGoesOn: "an owner goes on",
  /** No write that follows a re-fence is let through before it. */
  refenceIsNext: "a re-fence waits only for older writes",
  /** The table has one row. */
  oneRow: "there is one row",
  /** The row's time only grows. */
  epochGrows: "the epoch grows",
} as const;

/** How far the exploration goes. */
export interface Bounds {
  /**
   * When each instance's row is written. A successor's time may be an earlier
   * one, by another clock; 0 is none, and there are fewer re-fences than 16.
   */
  times: readonly number[];
  /** Writes of each instance: how many to each stream. */
  writes: readonly (readonly number[])[];
  /** Lost answers of writes, re-fences and takeovers together. */
  losses: number;
  /** Lost flushes that the network holds back and may deliver at any time. */
  late: number;
  /** Failovers to a standby that lacks only the last re-fence. */
  failovers: number;
}

/** How far a write has come. */
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

/** All of them, for the key. */
export const statuses: Status[] = [
  "waiting",
  "again",
  "sent",
  "lost",
  "done",
  "failed",
  "unknown",
];

/** An instance's knowledge of a write, and whether it was done. */
export interface Write {
  status: Status;
  /** Of its last flush. */
  epoch: number;
  isCommitted: boolean;
}

/** How far an instance has come. */
export type Phase = "idle" | "starting" | "owner" | "stopped";
/** All of them, for the key. */
export const phases: Phase[] = ["idle", "starting", "owner", "stopped"];

/** One process. */
export interface Instance {
  phase: Phase;
  /** The time of its row at first. */
  base: number;
  /** The time that its writes send, the last one acknowledged. */
  epoch: number;
  /** The highest time that it has sent. */
  top: number;
  /** A write with the present time was refused. */
  isRefused: boolean;
  streams: readonly (readonly Write[])[];
}

/** The purpose of a flush. */
export type Kind = "write" | "refence" | "takeover";
/** All of them, for the key. */
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
/** All of them, for the key. */
export const stages: Stage[] = [
  "network",
  "arrived",
  "locked",
  "done",
  "refused",
];

/** One transaction, sent at once. */
export interface Flush {
  by: number;
  kind: Kind;
  stream: number;
  nth: number;
  epoch: number;
  /** The lowest time that a re-fence changes. */
  from: number;
  /** The highest one. */
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

/** Everything there is. */
export interface State {
  rows: readonly Row[];
  /** The last write of each stream, by `rankOf`; 0: none. */
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

/** A write as the value of its stream; 0 is none. */
export const rankOf = ({ id, nth }: Place) => id * 8 + nth + 1;

/** A stream's value is from a later write of the same instance. */
export const isLaterThan = (value: number, place: Place) =>
  value > rankOf(place) && value < rankOf({ ...place, nth: 7 });

/** It was reported to the caller. */
export const isSettled = ({ status }: Write) =>
  status === "done" || status === "failed" || status === "unknown";

/** One write of all. */
export interface Place {
  id: number;
  stream: number;
  nth: number;
}

/** For traces: instance, stream, number. */
export const nameOf = ({ id, stream, nth }: Place) =>
  `${id}'s write ${"ab"[stream]}${nth + 1}`;

/** The place of a flush that is a write. */
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

/** The only row has a time within these. */
export function isOurs({ rows }: State, from: number, to: number): boolean {
  const [row, second] = rows;
  return row !== undefined && second === undefined && from <= row.epoch &&
    row.epoch <= to;
}

/** The state with an instance that has changed. */
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

/** The state with a write that has changed. */
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

/** The state with a flush that has changed, or is no more. */
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
 * The state after a sender has given its flush up: the server goes on with what
 * it has begun, the network may deliver late what it has not.
 */
export function abandon(state: State, flush: Flush, isLate: boolean): State {
  const isGone = flush.stage === "done" || flush.stage === "refused" ||
    flush.stage === "network" && !isLate;
  return patchFlush(state, flush, isGone ? undefined : { isAwaited: false });
}

/** Whether it matters any more when a write was sent. */
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
