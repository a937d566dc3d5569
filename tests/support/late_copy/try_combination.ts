/**
 * One combination on a store: the first write is sent and lost, sent again and
 * acknowledged; the later ones are acknowledged; then the first copy arrives.
 */
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import { newStreamId } from "../../../src/testing/contract/support.ts";
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import { makeCall, type WriteCall } from "./calls.ts";
import type { Combination } from "./combinations.ts";
import { elsewhereOf, type Others } from "./elsewhere.ts";
import {
  type FlushMatcher,
  type LateAnswer,
  type LateFlush,
  matchesFlush,
} from "./late_proxy.ts";
import { PREPARED_STREAMS } from "./prepared_streams.ts";
import { LATE_COPY_OWNER, type LateCopyStore } from "./settings.ts";
import { changesOf } from "./stored_state.ts";
import { describeContent } from "./stream_content.ts";

/** What became of the late copies of a combination. */
export interface LateCopyResult {
  /** What the server made of each copy that was held back. */
  answers: LateAnswer[];
  /** Rows that differ from those before the first one came. */
  changes: string[];
}

/** A combination did not go as it must before the late copy counts. */
export class CombinationError extends Error {
  override readonly name = "CombinationError";
}

/**
 * The number of flushes that the first write takes, undisturbed. Each of them
 * can be the one that is lost. Of two writes it is the first flush, which has
 * both if they share a batch.
 */
export async function countFlushes(
  { storage, proxy, state }: LateCopyStore,
  combination: Combination,
): Promise<number> {
  if (combination.scenario === "the next write") return 1;
  const streams = await prepare(storage, combination);
  proxy.reset();
  const late = proxy.hold(matchesFlush(LATE_COPY_OWNER, streams.id), 0);
  await writeFirst(storage, combination, streams);
  await state.empty();
  return late.matched;
}

/**
 * Tries the combination with the nth flush of the first write held back.
 *
 * @throws {CombinationError} a write was not acknowledged, or nothing was held.
 */
export async function tryCombination(
  { storage, proxy, state }: LateCopyStore,
  combination: Combination,
  nthFlush: number,
): Promise<LateCopyResult> {
  const streams = await prepare(storage, combination);
  proxy.reset();
  const first = matchesFlush(LATE_COPY_OWNER, streams.id);
  const late = [proxy.hold(first, nthFlush)];
  if (combination.scenario === "the next flush") {
    late.push(proxy.hold(behind(late[0]!), 1));
  }
  const rest = await writeFirst(storage, combination, streams);
  late.forEach(assertHeld);
  for (const call of rest) await write(storage, streams.id, call);
  const { later } = elsewhereOf(combination.scenario);
  for (const call of later) await call(storage, streams.others);
  await assertContent(storage, streams.id, combination);
  const before = await state.lines();
  const answers: LateAnswer[] = [];
  for (const flush of late) answers.push(await flush.deliver());
  const after = await state.lines();
  // Nothing of what came late has taken the schema from its owner.
  await storage.createStreamArchiveStorage(newStreamId());
  await state.empty();
  return { answers, changes: changesOf(before, after) };
}

/** Whatever the owner sends as a write when it misses the first answer. */
function behind(late: LateFlush): FlushMatcher {
  const isOwners = matchesFlush(LATE_COPY_OWNER);
  return (messages) => late.isHeld && isOwners(messages);
}

interface Streams {
  /** The one that the combination is about. */
  id: StreamId;
  others: Others;
}

async function prepare(
  storage: StreamStorage,
  { prepared, scenario }: Combination,
): Promise<Streams> {
  const { type, steps } = PREPARED_STREAMS[prepared];
  const id = newStreamId(type);
  const others = [newStreamId(), newStreamId(), newStreamId()] as const;
  for (const step of steps) await step(storage, id);
  for (const call of elsewhereOf(scenario).before) await call(storage, others);
  return { id, others };
}

/** Writes the first as its scenario says; returns what is yet to be written. */
async function writeFirst(
  storage: PostgresStreamStorage,
  { scenario, first, later }: Combination,
  { id, others }: Streams,
): Promise<readonly WriteCall[]> {
  // In one turn, so that they are dispatched together.
  const isBoth = scenario === "the next write";
  const writes = (isBoth ? [first, later[0]!] : [first])
    .map((call) => write(storage, id, call));
  const elsewhere = elsewhereOf(scenario).at
    .map((call) => call(storage, others));
  await Promise.all([...writes, ...elsewhere]);
  return isBoth ? later.slice(1) : later;
}

async function write(
  storage: PostgresStreamStorage,
  id: StreamId,
  call: WriteCall,
): Promise<void> {
  const outcome = await makeCall(storage, id, call);
  if ("value" in outcome) return;
  const error = JSON.stringify(
    outcome.error,
    (_, value) => typeof value === "bigint" ? `${value}` : value,
  );
  throw new CombinationError(
    `${call.operation} was not acknowledged: ${error}`,
  );
}

/** All that was acknowledged must be there, once. */
async function assertContent(
  storage: StreamStorage,
  id: StreamId,
  { content }: Combination,
): Promise<void> {
  const found = await describeContent(storage, id);
  if (found === content) return;
  throw new CombinationError(
    `Expected what was acknowledged, ${content}, found ${found}`,
  );
}

function assertHeld({ isHeld, matched }: LateFlush): void {
  if (isHeld) return;
  throw new CombinationError(`No flush was held back, ${matched} matched`);
}
