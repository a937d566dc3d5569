/** Runs a sequence on both stores, and compares them after each step. */
import { isDeepStrictEqual } from "node:util";
import {
  type MemoryStreamStorage,
  plantMemoryStream,
} from "../../../src/memory/memory_stream_storage.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import type { PlantedStream } from "../../../src/testing/contract/suite.ts";
import { newStreamId } from "../../../src/testing/contract/support.ts";
import {
  type Call,
  type Names,
  type Outcome,
  perform,
  show,
  showCall,
} from "./calls.ts";
import { Dice, spoil } from "./dice.ts";
import type { InvariantCheck } from "./invariants.ts";
import {
  type ArgumentMaker,
  LISTS,
  READS,
  type StreamFacts,
  WRITES,
} from "./operations.ts";
import { plantedRows } from "./plants.ts";
import { type Intent, ORIGINS, type Step } from "./steps.ts";

/** The store that is checked against the model. */
export interface Subject {
  /** The store that is open at the moment. */
  readonly storage: StreamStorage;
  plant(streamId: StreamId, rows: PlantedStream): Promise<void>;
  reopen(takeOver: boolean): Promise<void>;
  /** Checks the invariants of these streams. */
  check: InvariantCheck;
}

/** The stores differ, or an invariant is broken. */
class ModelError extends Error {
  override readonly name = "ModelError";
}

interface Run {
  subject: Subject;
  model: MemoryStreamStorage;
  ids: readonly StreamId[];
  names: Names;
  /** The steps so far, as code. */
  lines: string[];
  /** Streams with rows that no operation would leave. */
  unsound: Set<StreamId>;
  latest: Map<StreamId, bigint>;
  calls: number;
}

/** Makes ids for the streams of one sequence. */
export function sequenceIds(): StreamId[] {
  return [
    newStreamId("space"),
    newStreamId("channel"),
    newStreamId("media"),
    newStreamId("media"),
  ];
}

/**
 * Runs the steps on the subject and on an empty model.
 *
 * @throws {ModelError} if they differ, with the sequence as code.
 */
export async function runSequence(
  subject: Subject,
  model: MemoryStreamStorage,
  ids: readonly StreamId[],
  steps: readonly Step[],
): Promise<number> {
  const run: Run = {
    subject,
    model,
    ids,
    names: new Map(ids.map((id, index) => [id, "ABCD"[index]!])),
    lines: [],
    unsound: new Set(),
    latest: new Map(),
    calls: 0,
  };
  try {
    for (const step of steps) {
      const touched = await runStep(run, step);
      await compareContents(run, [...touched]);
    }
  } catch (error) {
    if (error instanceof ModelError) throw error;
    throw failure(run, [String(error)]);
  }
  return run.calls;
}

async function runStep(run: Run, step: Step): Promise<Set<StreamId>> {
  switch (step.kind) {
    case "call":
      return await runCalls(run, [step.intent]);
    case "batch":
      return await runCalls(run, withoutRaces(step.intents));
    case "plant":
      return await plant(run, step.stream, step.rolls);
    case "reopen":
      run.lines.push(`await reopen(${step.takeOver ? "takeOver" : ""});`);
      await run.subject.reopen(step.takeOver);
      return new Set(run.ids);
  }
}

/** Drops reads of a stream that a call at the same time writes. */
function withoutRaces(intents: readonly Intent[]): Intent[] {
  const written = new Set(
    intents.filter(({ operation }) => operation in WRITES)
      .map(({ stream }) => stream),
  );
  return intents.filter(({ operation, stream }) =>
    operation in WRITES || !written.has(stream)
  );
}

/** Makes the calls one after another on the model, at once on the subject. */
async function runCalls(
  run: Run,
  intents: readonly Intent[],
): Promise<Set<StreamId>> {
  const { subject, model, names, lines } = run;
  const calls: Call[] = [];
  const expected: Outcome[] = [];
  const touched = new Set<StreamId>();
  for (const intent of intents) {
    const call = await makeCall(run, intent);
    const outcome = await perform(model, call);
    calls.push(call);
    expected.push(outcome);
    if (intent.operation in LISTS) continue;
    const streamId = run.ids[intent.stream]!;
    touched.add(streamId);
    if (call.operation === "debugDeleteMiniblocks") run.unsound.add(streamId);
    if (call.operation === "deleteStream" && "value" in outcome) {
      run.unsound.delete(streamId);
      run.latest.delete(streamId);
    }
  }
  run.calls += calls.length;
  const text = calls.map((call) => showCall(call, names));
  lines.push(
    text.length === 1
      ? `await ${text[0]};`
      : `await Promise.allSettled([\n${
        text.map((call) => `  ${call},\n`).join("")
      }]);`,
  );
  const actual = await Promise.all(
    calls.map((call) => perform(subject.storage, call)),
  );
  for (const [index, outcome] of actual.entries()) {
    if (isDeepStrictEqual(outcome, expected[index])) continue;
    throw difference(run, text[index]!, outcome, expected[index]);
  }
  return touched;
}

async function makeCall(run: Run, intent: Intent): Promise<Call> {
  const dice = new Dice(intent.rolls, String(run.calls + run.lines.length));
  if (intent.operation in LISTS) {
    const known = await run.model.getStreams();
    const operation = intent.operation as keyof typeof LISTS;
    return { operation, args: LISTS[operation](dice, known) };
  }
  const streamId = run.ids[intent.stream]!;
  const facts = await factsOf(run.model, streamId);
  let { operation } = intent;
  if (operation in WRITES && !facts.isKnown && !dice.rarely(4)) {
    const [first, ...others] = ORIGINS[intent.stream]!;
    operation = dice.pick(first, ...others);
  }
  const makers: Record<string, ArgumentMaker> = { ...WRITES, ...READS };
  let args: unknown[] = [streamId, ...makers[operation]!(dice, facts)];
  if (dice.rarely(25)) args = spoil(args, dice) as unknown[];
  if (!Array.isArray(args)) args = [args];
  return { operation, args };
}

async function factsOf(
  model: MemoryStreamStorage,
  streamId: StreamId,
): Promise<StreamFacts> {
  try {
    const { miniblocks, events, miniblockCandidates, ...data } = await model
      .debugReadStreamData(streamId);
    return {
      isKnown: true,
      isEphemeral: await model.isStreamEphemeral(streamId),
      latest: data.latestSnapshotMiniblockNum,
      numbers: miniblocks.map(({ number }) => number),
      snapshots: miniblocks.filter(({ snapshot }) => snapshot !== undefined)
        .map(({ number }) => number),
      events: events.filter(({ slot }) => slot >= 0).length,
      nextSlot: (events.at(-1)?.slot ?? -1) + 1,
      candidates: miniblockCandidates.map(({ number, hash }) => ({
        number,
        hash: hash!,
      })),
    };
  } catch {
    return {
      isKnown: false,
      isEphemeral: false,
      latest: 0n,
      numbers: [],
      snapshots: [],
      events: 0,
      nextSlot: 0,
      candidates: [],
    };
  }
}

async function plant(
  run: Run,
  stream: number,
  rolls: readonly number[],
): Promise<Set<StreamId>> {
  const { subject, model, ids, names, lines } = run;
  const streamId = ids[stream]!;
  if ((await factsOf(model, streamId)).isKnown) {
    await runCalls(run, [{ operation: "deleteStream", stream, rolls: [] }]);
  }
  // Rows of an earlier stream of this id may still be there.
  if (run.unsound.has(streamId)) return new Set();
  const rows = plantedRows(new Dice(rolls, `p${lines.length}`));
  lines.push(`await plant(${show(streamId, names)}, ${show(rows, names)});`);
  await subject.plant(streamId, rows);
  run.unsound.add(streamId);
  if (!rows.orphaned) plantMemoryStream(model, streamId, rows);
  return new Set([streamId]);
}

async function compareContents(
  run: Run,
  touched: readonly StreamId[],
): Promise<void> {
  const { subject, model, names } = run;
  const reads = touched.flatMap((streamId): Call[] => [
    { operation: "debugReadStreamData", args: [streamId] },
    { operation: "isStreamEphemeral", args: [streamId] },
    { operation: "getMiniblockNumberRanges", args: [streamId] },
    { operation: "readStreamFromLastSnapshot", args: [streamId, 2] },
  ]);
  const sound = touched.filter((id) => !run.unsound.has(id));
  const [broken, ...outcomes] = await Promise.all([
    sound.length === 0 ? [] : subject.check(sound),
    ...reads.map((call) => perform(subject.storage, call)),
  ]);
  for (const [index, outcome] of outcomes.entries()) {
    const call = reads[index]!;
    const expected = await perform(model, call);
    if (isDeepStrictEqual(outcome, expected)) continue;
    throw difference(run, showCall(call, names), outcome, expected);
  }
  if (broken.length > 0) throw failure(run, broken);
  for (const streamId of sound) {
    const { isKnown, latest } = await factsOf(model, streamId);
    const before = run.latest.get(streamId) ?? latest;
    if (latest < before) {
      throw failure(run, [`latest snapshot shrank: ${before} to ${latest}`]);
    }
    if (isKnown) run.latest.set(streamId, latest);
  }
}

function difference(
  run: Run,
  call: string,
  actual: Outcome,
  expected: Outcome | undefined,
): ModelError {
  return failure(run, [
    `differs: ${call}`,
    `PostgreSQL: ${show(actual, run.names)}`,
    `memory:     ${show(expected, run.names)}`,
  ]);
}

function failure({ lines }: Run, comments: readonly string[]): ModelError {
  return new ModelError(
    [...lines, ...comments.map((comment) => `// ${comment}`)].join("\n"),
  );
}
