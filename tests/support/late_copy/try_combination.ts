/**
 * Tries one combination on a store. The first write is sent, lost, sent again and
 * acknowledged. The later writes are acknowledged. Then the first copy arrives.
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

/** The result of a combination. */
export interface LateCopyResult {
  /** The server's answer to each copy that was held back. */
  answers: LateAnswer[];
  /** Rows that changed after the first late copy came. */
  changes: string[];
}

/** A combination went wrong before its late copy arrived. */
export class CombinationError extends Error {
  override readonly name = "CombinationError";
}

/**
 * The number of flushes of the undisturbed first write. Each of them can be lost.
 * Of two writes that are issued together only the first flush is lost, which has
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
 * @throws {CombinationError} if a write was not acknowledged or no flush held.
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
  // No late copy may have taken the schema from its owner.
  await storage.createStreamArchiveStorage(newStreamId());
  await state.empty();
  return { answers, changes: changesOf(before, after) };
}

/** Matches the owner's next write of any kind after the held one. */
function behind(late: LateFlush): FlushMatcher {
  const isOwners = matchesFlush(LATE_COPY_OWNER);
  return (messages) => late.isHeld && isOwners(messages);
}

interface Streams {
  /** The prepared stream. */
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

/** Makes the first write as the scenario says; returns the remaining writes. */
async function writeFirst(
  storage: PostgresStreamStorage,
  { scenario, first, later }: Combination,
  { id, others }: Streams,
): Promise<readonly WriteCall[]> {
  // Issue them in one turn, so that they are dispatched together.
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

/** Checks that every acknowledged write is stored once. */
async function assertContent(
  storage: StreamStorage,
  id: StreamId,
  { content }: Combination,
): Promise<void> {
  const found = await describeContent(storage, id);
  if (found === content) return;
  throw new CombinationError(
    `Expected the acknowledged content ${content}, found ${found}`,
  );
}

function assertHeld({ isHeld, matched }: LateFlush): void {
  if (isHeld) return;
  throw new CombinationError(`No flush was held back, ${matched} matched`);
}
