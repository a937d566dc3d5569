/**
 * Generates the combinations to try: for each of a few streams each write that it
 * accepts, and after it each sequence of later writes. No combination is listed
 * by hand. `MemoryStreamStorage`, the twin that passes the same contract, decides
 * which writes a stream accepts, and which sequences have the same effect.
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
 * What happens together with the lost write. In the same turn the caller issues
 * nothing else; writes to other streams, which share the batch if they can;
 * writes that take the other transaction slots; or the first later write to the
 * same stream. Or the owner's next flush of any kind is lost, too, and arrives
 * late after the first.
 */
export type Scenario =
  | "alone"
  | "other streams"
  | "other slots"
  | "the next write"
  | "the next flush";

/** A combination: the first write is lost and arrives late. */
export interface Combination {
  prepared: PreparedName;
  scenario: Scenario;
  first: WriteCall;
  /** The writes that are acknowledged before the late copy arrives, in order. */
  later: readonly WriteCall[];
  /** The content when all were acknowledged; see `describeContent`. */
  content: string;
  /**
   * Whether the stream would then accept the first write again. If so, the
   * write's own checks do not stop its late copy.
   */
  isAcceptable: boolean;
}

/** The extent of the combinations. */
export interface GenerateOptions {
  /** The largest number of later writes. */
  depth: number;
  /**
   * Whether to include several later writes even if the write's own checks then
   * stop the late copy. Default false: only single later writes include that.
   */
  everything?: boolean;
}

/** A stream of the twin. */
interface TwinStream {
  storage: MemoryStreamStorage;
  streamId: StreamId;
}

/** A sequence of calls, and the stream and its content after them. */
interface Sequence {
  calls: readonly WriteCall[];
  content: string;
  stream: TwinStream;
}

/** All combinations, grouped by prepared stream and first write. */
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
 * With other streams, one later write is enough. Callers issue two writes at once
 * only if both are of one kind, and then another write has to follow.
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
 * The sequences, breadth first. Keeps one of all sequences with the same
 * operations and the same content, which differ only in the order of independent
 * writes.
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

/** The key leaves out which step wrote a payload. */
function keyOf(calls: readonly WriteCall[], content: string): string {
  const step = /6c61746572203\d/g; // "later 1"
  return `${calls.map(showCall).sort()}|${content.replaceAll(step, "")}`;
}

/** Whether the stream accepts the same call again. */
async function accepts(
  { storage, streamId }: TwinStream,
  { onTwin }: PossibleCall,
): Promise<boolean> {
  return "value" in await onTwin(storage.clone(), streamId);
}

/** The writes that a stream accepts now, each with the stream after it. */
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
