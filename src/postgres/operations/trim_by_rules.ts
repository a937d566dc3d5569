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
import { streamChanged } from "../stream_changed.ts";
import {
  planTrim,
  type TrimPlan,
  type TrimReader,
  type TrimRefusalReason,
  type TrimStep,
  trimSteps,
} from "./trim_plan.ts";

/** What was removed of a stream, or would be. */
export interface Trimmed {
  /** The number of the latest snapshot. */
  latest: bigint;
  /** Blocks below this one were removed; undefined: none. */
  cut: bigint | undefined;
  /** The number of blocks removed. */
  miniblocks: number;
  /** The number of snapshots cleared. */
  snapshots: number;
  /** The first 1000 blocks that lost their snapshot. */
  cleared: bigint[];
  /** The bytes removed or cleared. */
  bytes: bigint;
  /** False if the rules were replaced before the end, so the rest stays. */
  isWhole: boolean;
}

/** How a stream is trimmed. */
export interface TrimmingRun {
  /** Only measures, removes nothing. */
  dryRun: boolean;
  /** Takes a step, if the rules still hold; see `Ruling`. */
  step<T>(body: () => Promise<T>): Promise<T | undefined>;
}

const maxListed = 1000;

/**
 * Removes what the rules allow, or only measures it. Each step is a write of
 * its own, in the stream's turn and under its lock, and reads again what
 * justifies it (`checkCut`). If a step is interrupted, the next look continues.
 * A plan that no longer holds is an error (`stream_changed`); the next look
 * makes another. A plan whose rules were replaced just ends.
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

/** Only measures, through a store that may not write. */
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

/** The number of blocks, of snapshots, and the bytes. */
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
    // Without the signal, because a write in flight is never given up.
    return await writeStream(store, { name, streamId }, {
      bound: [
        justified(store, streamId, plan, step),
        bind(catalog.of(streamId, deleteMeasured), streamId, from, to),
        bind(catalog.of(streamId, clearMeasured), streamId, clear),
      ],
      // Without `wasDone`, because a step done twice differs only in its
      // figures. So there are always results.
      settle: (results) => {
        const [, blocks, snapshots] = results!;
        return figuresOf(blocks.rows, snapshots.rows);
      },
      refused: () => {
        // What is remembered of the stream's blocks may be wrong, too.
        legacySnapshots.forget(streamId);
        return streamChanged(streamId);
      },
    });
  } finally {
    legacySnapshots.forget(streamId, to);
  }
}

/** The check, in the step's transaction, of everything that justifies it. */
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
