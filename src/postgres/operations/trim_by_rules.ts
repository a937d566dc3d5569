import { bind, type Bound } from "../../database/statement.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import {
  checkCut,
  clearMeasured,
  deleteMeasured,
  measureBlocks,
  measureSnapshots,
} from "../sql/trimming.ts";
import type { Store, StreamCall } from "../store.ts";
import type { TrimmingRules } from "../trimming_options.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { streamChanged } from "./stream_state.ts";
import {
  planTrim,
  type TrimPlan,
  type TrimReader,
  type TrimRefusalReason,
  type TrimStep,
  trimSteps,
} from "./trim_plan.ts";

/** What went of a stream, or would. */
export interface Trimmed {
  /** The number of the block with the latest snapshot. */
  latest: bigint;
  /** All blocks below this one; undefined: none. */
  cut: bigint | undefined;
  /** Blocks that went. */
  miniblocks: number;
  /** Snapshots that were cleared. */
  snapshots: number;
  /** The first 1000 blocks that lost their snapshot. */
  cleared: bigint[];
  /** The size of all that. */
  bytes: bigint;
  /** False: the rules were replaced in the middle, and nothing more goes. */
  isWhole: boolean;
}

/** How a stream is trimmed. */
export interface TrimmingRun {
  /** Only measures. */
  dryRun: boolean;
  /** Takes a step, if the rules still hold; see `Ruling`. */
  step<T>(body: () => Promise<T>): Promise<T | undefined>;
}

const maxListed = 1000;

/**
 * Removes what the rules let go, or only measures it. Each step is a write of
 * its own, in the stream's turn and under its lock, where everything that
 * justifies it is read again (`checkCut`); one that is stopped in between is
 * finished by the next look. A plan that holds no longer is an error
 * (`stream_changed`) and made anew by the next look; one of rules that hold no
 * longer just ends.
 */
export async function trimByRules(
  store: Store,
  call: StreamCall,
  rules: TrimmingRules,
  { dryRun, step: takeStep }: TrimmingRun,
): Promise<Trimmed | TrimRefusalReason> {
  return await carryOut(
    store,
    call,
    rules,
    (plan, step) =>
      takeStep(() =>
        dryRun ? measure(store, call, step) : remove(store, call, plan, step)
      ),
  );
}

/** Only measures, on what may not write. */
export async function measureByRules(
  reader: TrimReader,
  call: StreamCall,
  rules: TrimmingRules,
): Promise<Trimmed | TrimRefusalReason> {
  return await carryOut(
    reader,
    call,
    rules,
    (_, step) => measure(reader, call, step),
  );
}

async function carryOut(
  store: TrimReader,
  call: StreamCall,
  rules: TrimmingRules,
  takeStep: (plan: TrimPlan, step: TrimStep) => Promise<Figures | undefined>,
): Promise<Trimmed | TrimRefusalReason> {
  const plan = await planTrim(store, call, rules);
  if (typeof plan === "string") return plan;
  const { latest, cut } = plan;
  const trimmed: Trimmed = {
    latest,
    cut,
    miniblocks: 0,
    snapshots: 0,
    cleared: [],
    bytes: 0n,
    isWhole: true,
  };
  for await (const step of trimSteps(store, call, plan)) {
    call.signal?.throwIfAborted();
    const figures = await takeStep(plan, step);
    if (figures === undefined) return { ...trimmed, isWhole: false };
    const [blocks, snapshots, bytes] = figures;
    trimmed.miniblocks += Number(blocks);
    trimmed.snapshots += Number(snapshots);
    trimmed.bytes += bytes;
    const room = maxListed - trimmed.cleared.length;
    trimmed.cleared.push(...step.clear.slice(0, room));
  }
  return trimmed;
}

/** Blocks, snapshots, bytes. */
type Figures = [bigint, bigint, bigint];

async function measure(
  store: TrimReader,
  { name, streamId, signal }: StreamCall,
  { from, to, clear }: TrimStep,
): Promise<Figures> {
  const { catalog } = store;
  const [blocks, snapshots] = await store.transactions.read(
    { name, tags: streamId, signal },
    [
      bind(catalog.of(streamId, measureBlocks), streamId, from, to),
      bind(catalog.of(streamId, measureSnapshots), streamId, clear),
    ],
  );
  return figuresOf(blocks.rows, snapshots.rows);
}

async function remove(
  store: Store,
  { name, streamId }: StreamCall,
  plan: TrimPlan,
  step: TrimStep,
): Promise<Figures> {
  const { catalog, cache: { legacySnapshots } } = store;
  const { from, to, clear } = step;
  try {
    // Without the signal: a write that is under way is never given up.
    return await writeStream(store, { name, streamId }, {
      bytes: 0,
      bound: [
        justified(store, streamId, plan, step),
        bind(catalog.of(streamId, deleteMeasured), streamId, from, to),
        bind(catalog.of(streamId, clearMeasured), streamId, clear),
      ],
      // Done twice it is as if done once, apart from the figures: there is no
      // look, and so there are results.
      settle: (results) => {
        const [, blocks, snapshots] = results!;
        return figuresOf(blocks.rows, snapshots.rows);
      },
      refused: () => {
        // Whatever is remembered of its blocks was not reliable either.
        legacySnapshots.forget(streamId);
        throw streamChanged(streamId);
      },
    });
  } finally {
    legacySnapshots.forget(streamId, to);
  }
}

/** The check, in the step's own transaction, of all that justifies it. */
function justified(
  { catalog }: Store,
  streamId: StreamId,
  { latest, last, runStart, cut, beside, inside }: TrimPlan,
  { from, to, clear, stay }: TrimStep,
): Bound {
  return bind(
    catalog.of(streamId, checkCut),
    streamId,
    latest,
    last,
    from,
    to,
    cut ?? runStart,
    clear,
    [...beside, ...stay],
    inside.map(({ number }) => number),
    inside.map(({ sha256 }) => sha256),
  );
}

function figuresOf(
  [blocks]: readonly [bigint, bigint][],
  [snapshots]: readonly [bigint, bigint][],
): Figures {
  return [blocks![0], snapshots![0], blocks![1] + snapshots![1]];
}
