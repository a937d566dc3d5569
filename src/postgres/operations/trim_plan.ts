/**
 * Plans what may be removed of a stream by its rules.
 *
 * - Only a regular stream in the database is trimmed. An archive keeps all its
 *   blocks, and uploads are left to the sweeper.
 * - The stream's blocks must be one run. Only a genesis may stand alone before
 *   it, because an older trimmer may have left it. Any other gap, or a latest
 *   snapshot that is not where it should be, means that something went wrong
 *   before. Then the stream is refused, so that nothing is removed that could
 *   still be of use.
 * - The cut is at a block with a snapshot: the nearest one that keeps the
 *   required history before the latest snapshot, and never above that.
 * - From the cut on, the first snapshot of each interval stays, which includes
 *   the one at the cut. The snapshots of the newest 100 blocks and the latest
 *   one also stay. The cut may be at a snapshot inside a block's data.
 *   Otherwise such a snapshot plays no part, because it can't be cleared.
 *
 * Applied to what they have left, the same rules find nothing more.
 *
 * The facts behind a plan may have changed when the plan is carried out:
 * another caller has trimmed the stream, or a failover has taken commits back.
 * So the plan names the snapshots that must stay (`beside`, `inside`), and
 * every step checks them in its own transaction (`checkCut`). Which blocks hold
 * a snapshot in their data is remembered from look to look
 * (legacy_snapshots.ts). That memory only decides which block to try. The
 * block's data is read again before a plan relies on it, and the data's hash is
 * part of the plan.
 */

import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { hasLegacySnapshot } from "../../storage/miniblock_proto.ts";
import {
  closestSnapshotMiniblock,
  snapshotsToNullify,
} from "../../storage/rules.ts";
import type { SearchedBlocks } from "../legacy_snapshots.ts";
import {
  selectDataOf,
  selectSnapshotBelow,
  selectSnapshots,
  selectTrimState,
} from "../sql/trimming.ts";
import type { ReadStore, StreamCall } from "../store.ts";
import type { StreamCache } from "../stream_cache.ts";
import type { TrimmingRules } from "../trimming_options.ts";
import { hashOf } from "./external_blocks.ts";
import { streamChanged } from "../stream_changed.ts";

/** Why a stream is not trimmed. */
export type TrimRefusalReason =
  | "ephemeral_stream"
  | "stored_externally"
  | "archive_stream"
  | "unexpected_gap"
  | "latest_snapshot_missing";

/** A block with a snapshot inside its data, and the hash of that data. */
export interface LegacySnapshot {
  number: bigint;
  sha256: Uint8Array;
}

/** The snapshots at the cut and the latest; both must be there. */
interface NeededSnapshots {
  /** The blocks with a snapshot beside them. */
  beside: readonly bigint[];
  inside: readonly LegacySnapshot[];
}

/** What may be removed of a stream; its steps are found as they are done. */
export interface TrimPlan extends NeededSnapshots {
  /** The number of the latest snapshot. */
  latest: bigint;
  /** The first stored block, and the last. */
  first: bigint;
  last: bigint;
  /** The first block of the run; differs from `first` only after a gap. */
  runStart: bigint;
  /** Blocks below this one are to be removed. */
  cut: bigint | undefined;
  rules: TrimmingRules;
}

/** A part of a plan, small enough for one transaction. */
export interface TrimStep {
  /** The blocks from this number to below `to` are to be removed. */
  from: bigint;
  to: bigint;
  /** The snapshots of these blocks are to be cleared. */
  clear: readonly bigint[];
  /** These blocks must have a snapshot, which justifies clearing the others. */
  stay: readonly bigint[];
}

/** What planning needs of a store: less than trimming does. */
export interface TrimReader extends ReadStore {
  readonly cache: Pick<StreamCache, "legacySnapshots">;
}

const minKeep = 100n;

/** Plans for a stream. NOT_FOUND if it is unknown. */
export async function planTrim(
  store: TrimReader,
  call: StreamCall,
  rules: TrimmingRules,
): Promise<TrimPlan | TrimRefusalReason> {
  const { name, streamId, signal } = call;
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectTrimState), streamId)],
  );
  if (row === undefined) throw streamNotFound(streamId);
  const [latest, ephemeral, ext, hasMinipool, count, first, last, above] = row;
  if (ephemeral) return "ephemeral_stream";
  if (ext !== "D") return "stored_externally";
  if (!hasMinipool || first === null || last === null) return "archive_stream";
  const isWhole = count === last - first + 1n;
  const runStart = isWhole ? first : above ?? first;
  if (!isWhole && (first !== 0n || count - 1n !== last - runStart + 1n)) {
    return "unexpected_gap";
  }
  const bare = { latest, first, last, runStart, rules };
  if (latest === 0n) return { ...bare, cut: undefined, beside: [], inside: [] };
  if (latest < runStart || latest > last) return "latest_snapshot_missing";
  const found = row[8] ? latest : legacyIn(latest, row[9]);
  if (found === undefined) return "latest_snapshot_missing";
  const cut = await findCut(store, call, bare, found);
  const needed = cut === undefined || cut === found ? [found] : [cut, found];
  return {
    ...bare,
    cut: cut === undefined ? undefined : numberOf(cut),
    beside: needed.filter((one) => typeof one === "bigint"),
    inside: needed.filter((one) => typeof one !== "bigint"),
  };
}

/** A snapshot: beside the block of this number, or inside a block. */
type FoundSnapshot = bigint | LegacySnapshot;

function numberOf(found: FoundSnapshot): bigint {
  return typeof found === "bigint" ? found : found.number;
}

/** The nearest snapshot that keeps the required history. */
async function findCut(
  store: TrimReader,
  call: StreamCall,
  { latest, first, last, runStart, rules }: Omit<
    TrimPlan,
    "cut" | keyof NeededSnapshots
  >,
  latestSnapshot: FoundSnapshot,
): Promise<FoundSnapshot | undefined> {
  const { history, target = -1n } = rules;
  const byHistory = history > 0n ? latest - history : -1n;
  const wanted = byHistory > target ? byHistory : target;
  const at = wanted > latest ? latest : wanted;
  if (at < runStart || at === first) return undefined;
  if (at === latest) return latestSnapshot;
  const own = await snapshotBelow(store, call, runStart, at);
  const legacy = await findLegacy(
    store,
    call,
    numbersDown(at, own === undefined ? runStart : own + 1n),
  );
  const found = [own, legacy].filter((one) => one !== undefined);
  const range = { startInclusive: runStart, endInclusive: last };
  const cut = closestSnapshotMiniblock(
    [{ ...range, snapshotSeqNums: found.map(numberOf) }],
    at,
  );
  if (cut === undefined || cut === first) return undefined;
  return found.find((one) => numberOf(one) === cut);
}

/** The greatest number from `from` to `to` with a snapshot beside its block. */
async function snapshotBelow(
  store: TrimReader,
  { name, streamId, signal }: StreamCall,
  from: bigint,
  to: bigint,
): Promise<bigint | undefined> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectSnapshotBelow), streamId, from, to)],
  );
  return row?.[0];
}

/** How many blocks are searched for a snapshot inside, at most. */
const maxSearched = 10_000;
/** Blocks whose data is in memory at a time. */
const searchedAtOnce = 16;

function numbersDown(from: bigint, to: bigint): bigint[] {
  const numbers: bigint[] = [];
  for (let n = from; n >= to && numbers.length < maxSearched; n--) {
    numbers.push(n);
  }
  return numbers;
}

/** The first of the numbers, descending, whose block holds a snapshot. */
async function findLegacy(
  store: TrimReader,
  call: StreamCall,
  numbers: readonly bigint[],
): Promise<LegacySnapshot | undefined> {
  const { streamId } = call;
  for (let looks = 0; looks < maxLooks; looks++) {
    const number = await findCandidate(store, call, numbers);
    if (number === undefined) return undefined;
    const legacy = await readLegacy(store, call, number);
    if (legacy !== undefined) return legacy;
    // The memory was about other data. The rest of it may be, too.
    store.cache.legacySnapshots.forget(streamId);
  }
  throw streamChanged(streamId);
}

/** First with what is remembered, then with the data alone. */
const maxLooks = 2;

/** The snapshot in the block's data, read now; undefined if it holds none. */
async function readLegacy(
  store: TrimReader,
  { name, streamId, signal }: StreamCall,
  number: bigint,
): Promise<LegacySnapshot | undefined> {
  const select = store.catalog.of(streamId, selectDataOf);
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(select, streamId, [number])],
  );
  return legacyIn(number, row?.[1]);
}

/** The snapshot in the block's data; undefined if it holds none. */
function legacyIn(
  number: bigint,
  data: Uint8Array | null | undefined,
): LegacySnapshot | undefined {
  if (!data || !hasLegacySnapshot(data)) return undefined;
  return { number, sha256: hashOf(data) };
}

/** {@linkcode findLegacy} by what is remembered; reads the other blocks. */
async function findCandidate(
  store: TrimReader,
  call: StreamCall,
  numbers: readonly bigint[],
): Promise<bigint | undefined> {
  const { streamId } = call;
  const known = store.cache.legacySnapshots.open(streamId);
  try {
    for (let next = 0; next < numbers.length;) {
      const page: bigint[] = [];
      while (next < numbers.length && page.length < searchedAtOnce) {
        const number = numbers[next++]!;
        if (known.get(number) === undefined) page.push(number);
        else if (known.get(number)) {
          return await search(store, call, known, page) ?? number;
        }
      }
      const found = await search(store, call, known, page);
      if (found !== undefined) return found;
    }
    return undefined;
  } finally {
    store.cache.legacySnapshots.close(streamId, known);
  }
}

/** The greatest of the numbers whose block holds a snapshot. */
async function search(
  store: TrimReader,
  { name, streamId, signal }: StreamCall,
  known: SearchedBlocks,
  numbers: readonly bigint[],
): Promise<bigint | undefined> {
  if (numbers.length === 0) return undefined;
  const select = store.catalog.of(streamId, selectDataOf);
  const [{ rows }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(select, streamId, numbers)],
  );
  let found: bigint | undefined;
  for (const [number, data] of rows) {
    const holds = hasLegacySnapshot(data);
    store.cache.legacySnapshots.learn(known, number, holds);
    if (holds && (found === undefined || number > found)) found = number;
  }
  return found;
}

/** The parts of a plan, in order; each is made after the last is done. */
export async function* trimSteps(
  store: TrimReader,
  call: StreamCall,
  plan: TrimPlan,
): AsyncGenerator<TrimStep, void, undefined> {
  if (plan.cut !== undefined) yield* deletingSteps(store, call, plan, plan.cut);
  if (plan.rules.retention > 0n) yield* clearingSteps(store, call, plan);
}

/**
 * Deletes from the oldest block up. A cut that takes several steps pauses at
 * snapshots, too, where these are not further apart than a step is long.
 */
async function* deletingSteps(
  store: TrimReader,
  call: StreamCall,
  { first, runStart, rules }: TrimPlan,
  cut: bigint,
): AsyncGenerator<TrimStep, void, undefined> {
  let from = first;
  for (let start = runStart; from < cut; start = from) {
    let to = start + BigInt(rules.batchSize);
    if (to >= cut) to = cut;
    else to = await snapshotBelow(store, call, start + 1n, to) ?? to;
    yield { from, to, clear: [], stay: [] };
    from = to;
  }
}

async function* clearingSteps(
  store: TrimReader,
  { name, streamId, signal }: StreamCall,
  { latest, first, last, runStart, cut, rules }: TrimPlan,
): AsyncGenerator<TrimStep, void, undefined> {
  const { retention, batchSize, clearedTo = -1n } = rules;
  const start = cut ?? runStart;
  // Continues at the snapshot that stays in the interval where the last run
  // ended.
  const again = clearedTo - clearedTo % retention;
  const select = store.catalog.of(streamId, selectSnapshots);
  const size = BigInt(batchSize);
  /** The snapshot that stays in the interval where the last page ended. */
  let stays: bigint | undefined;
  for (let at = again > start && again <= latest ? again : start;;) {
    const [{ rows }] = await store.transactions.read(
      { name, tags: streamId, signal },
      [bind(select, streamId, at, last - minKeep, size)],
    );
    const page = rows.map(([number]) => number);
    const end = page.at(-1);
    if (end === undefined) return;
    const snapshots = stays === undefined ? page : [stays, ...page];
    const clear = snapshotsToNullify(start, last, snapshots, retention, minKeep)
      .filter((number) => number !== latest);
    const stay = firstOfEach(snapshots, clear, retention);
    const from = cut ?? first;
    if (clear.length > 0) yield { from, to: from, clear, stay };
    if (page.length < batchSize) return;
    stays = snapshots.find((n) => n / retention === end / retention);
    at = end + 1n;
  }
}

/** The first snapshot of each interval in which snapshots are cleared. */
function firstOfEach(
  snapshots: readonly bigint[],
  cleared: readonly bigint[],
  retention: bigint,
): bigint[] {
  const intervals = new Set(cleared.map((number) => number / retention));
  return snapshots.filter((number) => intervals.delete(number / retention));
}
