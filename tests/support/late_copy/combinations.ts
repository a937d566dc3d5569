/**
 * What is tried: from each of a few streams each write that it accepts, and
 * behind that each sequence of later writes. None is listed by hand:
 * `MemoryStreamStorage`, the twin that passes the same contract, says what a
 * stream accepts, and which sequences leave the same behind.
 */
import { MemoryStreamStorage } from "../../../src/memory/memory_stream_storage.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import { newStreamId } from "../../../src/testing/contract/support.ts";
import {
  type PossibleCall,
  possibleFirst,
  possibleLater,
  showCall,
  type WriteCall,
} from "./calls.ts";
import { PREPARED_STREAMS, type PreparedName } from "./prepared_streams.ts";
import { describeContent, factsOf } from "./stream_content.ts";

/**
 * What goes with the lost write. Issued in the same turn: nothing; writes to
 * other streams, in the same batch if it is shared; writes that take the other
 * transaction slots; or the first later write to the same stream. Or the next
 * flush that the owner sends is lost as well, whatever it is for, and comes
 * late behind the first.
 */
export type Scenario =
  | "alone"
  | "other streams"
  | "other slots"
  | "the next write"
  | "the next flush";

/** One thing to try: the first write is lost and comes late. */
export interface Combination {
  prepared: PreparedName;
  scenario: Scenario;
  first: WriteCall;
  /** What is acknowledged before the late copy arrives, in order. */
  later: readonly WriteCall[];
  /** What is stored when all were acknowledged; see `describeContent`. */
  content: string;
  /**
   * Whether the stream would accept the first write then, were it a new one:
   * the checks of the write itself do not stop the late copy.
   */
  isAcceptable: boolean;
}

/** How much is generated. */
export interface GenerateOptions {
  /** Later writes at most. */
  depth: number;
  /**
   * Also several later writes after which the write's own checks stop the late
   * copy. Default false: behind a single one that is tried, too.
   */
  everything?: boolean;
}

/** A stream as the twin has it. */
interface TwinStream {
  storage: MemoryStreamStorage;
  streamId: StreamId;
}

/** Some calls, and what stands behind them. */
interface Sequence {
  calls: readonly WriteCall[];
  content: string;
  stream: TwinStream;
}

/** All combinations, those of one prepared stream and first write together. */
export async function combinations(
  { depth, everything = false }: GenerateOptions,
): Promise<Combination[]> {
  const all: Combination[] = [];
  for (const prepared of Object.keys(PREPARED_STREAMS) as PreparedName[]) {
    const stream = await preparedTwin(prepared);
    for (const first of await accepted(stream, possibleFirst, "first")) {
      for (const sequence of await sequences(first.after, depth)) {
        const { calls: later, content } = sequence;
        const isAcceptable = await accepts(sequence.stream, first);
        if (later.length > 1 && !isAcceptable && !everything) continue;
        const { call } = first;
        const rest = { prepared, first: call, later, content, isAcceptable };
        for (const scenario of scenariosOf(first, rest)) {
          all.push({ scenario, ...rest });
        }
      }
    }
  }
  return all;
}

/** A combination as one line. */
export function show(
  { prepared, scenario, first, later }: Combination,
): string {
  const beside = scenario === "alone" ? "" : ` (with ${scenario})`;
  const calls = later.map(showCall).join(", ");
  return `${prepared}: ${showCall(first)}${beside}, then ${calls}`;
}

/**
 * One later write says enough about other streams. Of one kind callers issue
 * two writes at once; something else has to follow them.
 */
function scenariosOf(
  { call, sharesBatches }: PossibleCall,
  { later, isAcceptable }: Pick<Combination, "later" | "isAcceptable">,
): Scenario[] {
  const scenarios: Scenario[] = ["alone"];
  if (later.length === 1 && isAcceptable) {
    scenarios.push("other slots", "the next flush");
  }
  if (!sharesBatches) return scenarios;
  if (later.length === 1) scenarios.push("other streams");
  const isPair = later[0]!.operation === call.operation;
  if (later.length === 2 && isPair) scenarios.push("the next write");
  return scenarios;
}

async function preparedTwin(name: PreparedName): Promise<TwinStream> {
  const storage = new MemoryStreamStorage();
  const { type, steps } = PREPARED_STREAMS[name];
  const streamId = newStreamId(type);
  for (const step of steps) await step(storage, streamId);
  return { storage, streamId };
}

/**
 * Breadth first. Of sequences of the same operations that leave the same
 * content, one is kept: they differ in the order of writes that do not meet.
 */
async function sequences(
  stream: TwinStream,
  depth: number,
): Promise<Sequence[]> {
  const all: Sequence[] = [];
  let ends: Sequence[] = [{ calls: [], content: "", stream }];
  for (let length = 1; length <= depth; length++) {
    const next = new Map<string, Sequence>();
    for (const { calls, stream } of ends) {
      const tag = `later ${length}`;
      for (const option of await accepted(stream, possibleLater, tag)) {
        const { storage, streamId } = option.after;
        const content = await describeContent(storage, streamId);
        const sequence = [...calls, option.call];
        const key = keyOf(sequence, content);
        if (next.has(key)) continue;
        next.set(key, { calls: sequence, content, stream: option.after });
      }
    }
    ends = [...next.values()];
    all.push(...ends);
  }
  return all;
}

/** The payloads tell which step wrote them, which is not the question. */
function keyOf(calls: readonly WriteCall[], content: string): string {
  const step = /6c61746572203\d/g; // "later 1"
  return `${calls.map(showCall).sort()}|${content.replaceAll(step, "")}`;
}

/** Whether the same call could be made again. */
async function accepts(
  { storage, streamId }: TwinStream,
  { onTwin }: PossibleCall,
): Promise<boolean> {
  return "value" in await onTwin(storage.clone(), streamId);
}

/** The writes that a stream accepts now, each with what it leaves behind. */
async function accepted(
  stream: TwinStream,
  possibleCalls: typeof possibleFirst,
  tag: string,
): Promise<(PossibleCall & { after: TwinStream })[]> {
  const { streamId } = stream;
  const facts = await factsOf(stream.storage, streamId);
  const options: (PossibleCall & { after: TwinStream })[] = [];
  for (const possible of possibleCalls(facts, tag)) {
    const storage = stream.storage.clone();
    const outcome = await possible.onTwin(storage, streamId);
    if ("error" in outcome) continue;
    options.push({ ...possible, after: { storage, streamId } });
  }
  return options;
}
