/**
 * A load of the write queue as one transaction: the fence and the locks of its
 * streams, then a statement for each write.
 */

import { sqlStateOf, verdictOf } from "../database/failures.ts";
import { rejectionOf } from "../database/rejection.ts";
import { bind, type Bound, type Result } from "../database/statement.ts";
import type { TransactionContext } from "../database/transactions.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { KnownMinipool, MinipoolEnd } from "./known_minipools.ts";
import { countOf, type LoadedWrite } from "./queued_write.ts";
import {
  claimStreams,
  insertNewStreams,
  leftoversReason,
  lockStreams,
  lockStreamsTelling,
  lockUntouchedStream,
  lockUntouchedStreams,
  lockUntouchedStreamsOfMany,
  touchedReason,
} from "./sql/streams.ts";
import { lockOf, type Store } from "./store.ts";

/** A stream of a load. */
interface LoadedStream {
  streamId: StreamId;
  /** What is known of it, if the load relies on that. */
  trusted: KnownMinipool | undefined;
  /** How its minipool ends when all was done; undefined: nobody knows. */
  end: MinipoolEnd | undefined;
  /** Which writes of the load are its own. */
  from: number;
  to: number;
}

/** A creation: which statement of the load it is, and what can take its place. */
interface NewStream {
  streamId: StreamId;
  at: number;
  behindRow: () => Bound;
}

/** The statements of a load, and its streams by how they are locked. */
interface Load {
  bound: Bound[];
  /** Taken to be as they are known; in the order of their rows' places. */
  trusted: LoadedStream[];
  /** Known when the load is done. */
  learned: LoadedStream[];
  /** Their rows have to be written. */
  doubted: LoadedStream[];
  others: LoadedStream[];
  /** New streams whose rows are added ahead of the rest; locked like any. */
  created: NewStream[];
}

/** Runs the writes once; the driver's errors come as they are. */
export async function runShared(
  store: Store,
  context: TransactionContext,
  writes: readonly LoadedWrite[],
): Promise<readonly Result[]> {
  try {
    return await runLoad(store, context, writes, { careful: false });
  } catch (error) {
    if (!wasHasty(error)) throw error;
  }
  // Nothing was done, what was known is forgotten.
  return await runLoad(store, context, writes, { careful: true });
}

/** Something was not as it was taken to be: a known stream, or a new one. */
function wasHasty(error: unknown): boolean {
  const reason = rejectionOf(error)?.reason;
  return reason === touchedReason || reason === leftoversReason ||
    sqlStateOf(error) === uniqueViolation;
}

const uniqueViolation = "23505";

async function runLoad(
  store: Store,
  context: TransactionContext,
  writes: readonly LoadedWrite[],
  { careful }: { careful: boolean },
): Promise<readonly Result[]> {
  const load = loadOf(store, writes, { careful });
  const checks = checksOf(store, load);
  try {
    const results = await store.transactions.attemptShared(context, [
      ...checks,
      ...load.bound,
    ]);
    const done = results.slice(checks.length);
    learn(store, load, results, done);
    return done;
  } catch (error) {
    const { knownMinipools } = store;
    for (const { streamId } of writes) knownMinipools.forget(streamId);
    if (verdictOf(error, "write") === "unknown") {
      for (const { streamId } of load.trusted) knownMinipools.doubt(streamId);
    }
    throw error;
  }
}

/** The writes of a stream stand together. */
function loadOf(
  store: Store,
  writes: readonly LoadedWrite[],
  { careful }: { careful: boolean },
): Load {
  const load: Load = {
    bound: [],
    trusted: [],
    learned: [],
    doubted: [],
    others: [],
    created: [],
  };
  for (let from = 0; from < writes.length;) {
    const stream = streamAt(store, writes, from, load);
    if (stream.trusted !== undefined) load.trusted.push(stream);
    else if (stream.end !== undefined) load.learned.push(stream);
    else if (store.knownMinipools.isDoubted(stream.streamId)) {
      load.doubted.push(stream);
    } else load.others.push(stream);
    from = stream.to;
  }
  load.trusted.sort((a, b) => a.trusted!.at - b.trusted!.at);
  // A single one would gain nothing, and lose an attempt if it is there.
  if (careful || load.created.length === 1) load.created = [];
  for (const { at, behindRow } of load.created) load.bound[at] = behindRow();
  return load;
}

/** The stream whose writes begin here; adds their statements to the load. */
function streamAt(
  { isolationLevel, knownMinipools }: Store,
  writes: readonly LoadedWrite[],
  from: number,
  { bound, created }: Load,
): LoadedStream {
  const { streamId } = writes[from]!;
  // Higher levels see the row as it was when they began. A row that is to be
  // written is another one then.
  const trusts = isolationLevel === "read committed" &&
    !knownMinipools.isDoubted(streamId);
  const trusted = trusts ? knownMinipools.get(streamId) : undefined;
  let isTrusted = false;
  // What the next write finds, as long as none before it has to look: whether
  // that one does anything is not known yet.
  let known: MinipoolEnd | undefined = trusted;
  let end: MinipoolEnd | undefined;
  let to = from;
  for (; to < writes.length && writes[to]!.streamId === streamId; to++) {
    const write = writes[to]!.shared.bind(known);
    const { behindRow } = write;
    if (behindRow) created.push({ streamId, at: bound.length, behindRow });
    bound.push(write.bound);
    end = trusts ? write.end : undefined;
    known = write.trusts ? end : undefined;
    isTrusted ||= write.trusts === true;
  }
  return { streamId, trusted: isTrusted ? trusted : undefined, end, from, to };
}

/**
 * The fence, with the lock of the trusted streams or without any; then the locks
 * of the streams to learn about, of the doubted ones, and of the others; then
 * the rows of new streams. These are locked before, in case that they are there
 * and a stranger has them: to add a row that he is deleting would wait for him.
 */
function checksOf(
  store: Store,
  { trusted, learned, doubted, others, created }: Load,
): Bound[] {
  const { catalog, isolationLevel, ownership } = store;
  const checks = [
    trusted.length > 0 ? trustingLock(store, trusted) : ownership.fence,
  ];
  if (learned.length > 0) {
    checks.push(bind(catalog.at("", lockStreamsTelling), idsOf(learned)));
  }
  if (doubted.length > 0) {
    checks.push(bind(catalog.at("", claimStreams), idsOf(doubted)));
  }
  if (others.length === 1) {
    checks.push(lockOf(store, others[0]!.streamId));
  } else if (others.length > 1) {
    const lock = isolationLevel === "read committed"
      ? lockStreams
      : claimStreams;
    checks.push(bind(catalog.at("", lock), idsOf(others)));
  }
  if (created.length > 0) {
    checks.push(bind(catalog.at("", insertNewStreams), idsOf(created)));
  }
  return checks;
}

function trustingLock(
  { catalog, ownership: { owner } }: Store,
  streams: Load["trusted"],
): Bound {
  const { streamId, trusted } = streams[0]!;
  const { at, lockedBy } = trusted!;
  if (streams.length === 1) {
    const lock = catalog.at("", lockUntouchedStream);
    return bind(lock, at, streamId, lockedBy, ...owner);
  }
  const places = streams.map(({ trusted }) => trusted!.at);
  const ids = idsOf(streams);
  if (streams.every(({ trusted }) => trusted!.lockedBy === lockedBy)) {
    const lock = catalog.at("", lockUntouchedStreams);
    return bind(lock, places, ids, lockedBy, ...owner);
  }
  const lockers = streams.map(({ trusted }) => trusted!.lockedBy);
  const lock = catalog.at("", lockUntouchedStreamsOfMany);
  return bind(lock, places, ids, lockers, [...new Set(lockers)], ...owner);
}

function idsOf(streams: readonly { streamId: StreamId }[]): StreamId[] {
  return streams.map(({ streamId }) => streamId);
}

/**
 * Every write has locked its stream, so what was known before is over. The
 * results are those of {@linkcode checksOf}, and what the writes have done.
 */
function learn(
  { knownMinipools }: Store,
  { trusted, learned, doubted, others }: Load,
  [first, second]: readonly Result[],
  done: readonly Result[],
): void {
  if (trusted.length > 0) {
    const lockedBy = first!.rows[0]![1] as bigint;
    for (const stream of trusted) {
      const end = endOf(stream, done);
      if (end === undefined) knownMinipools.forget(stream.streamId);
      else {
        const known = stream.trusted!;
        known.generation = end.generation;
        known.next = end.next;
        known.isWhole = end.isWhole;
        known.lockedBy = lockedBy;
      }
    }
  }
  if (learned.length > 0) {
    const { rows } = second!;
    const told = new Map(
      (rows as unknown as [StreamId, number, bigint][])
        .map(([id, at, lockedBy]) => [id, { at, lockedBy }]),
    );
    for (const stream of learned) {
      const { streamId } = stream;
      const end = endOf(stream, done);
      const row = told.get(streamId);
      if (end === undefined || row === undefined) {
        knownMinipools.forget(streamId);
      } else knownMinipools.learn(streamId, { ...end, ...row });
    }
  }
  for (const { streamId } of doubted) {
    knownMinipools.forget(streamId);
    knownMinipools.settleDoubt(streamId);
  }
  for (const { streamId } of others) knownMinipools.forget(streamId);
}

/** How the stream's minipool ends, if all that was to be done was done. */
function endOf(
  { end, from, to }: LoadedStream,
  done: readonly Result[],
): MinipoolEnd | undefined {
  for (let i = from; i < to; i++) if (countOf(done[i]!) !== 1) return undefined;
  return end;
}
