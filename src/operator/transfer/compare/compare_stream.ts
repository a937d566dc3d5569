/**
 * Compares one stream in two places. The stream on the right is
 *
 * - `forked`: a block of a number, or its snapshot, has other bytes;
 * - `behind`: it lacks something that the left one has, and has no later block;
 * - `ahead`: it has something that the left one lacks;
 * - `equal`: neither.
 *
 * The two sides are read at different moments. So a stream that is written to
 * meanwhile may count as `behind`.
 */

import { bind } from "../../../database/statement.ts";
import type { ReadStore, StreamCall } from "../../../postgres/store.ts";
import { findLast } from "../../../postgres/operations/miniblock_numbers.ts";
import { latestSnapshotOf } from "../../../storage/rules.ts";
import { bytesToHex } from "../../../storage/stream_id.ts";
import type { StoredKind, StreamHead, StreamTail } from "../format/model.ts";
import { selectStreamHead } from "../source/source_sql.ts";
import {
  type BlockVerdict,
  digestOf,
  digestsOfBlock,
  mergeBlocks,
  storedDigests,
} from "./blocks.ts";
import {
  selectCandidateDigests,
  selectMinipoolDigests,
  selectPageDigest,
} from "./digests_sql.ts";

/** All of a stream except its blocks. */
export interface StreamOutline {
  readonly kind: StoredKind;
  readonly latestSnapshot: bigint;
  /** The last block, -1 without any. */
  readonly last: bigint;
  /** The minipool's rows, as text. */
  readonly minipool: readonly string[];
  /** The candidates, as text. */
  readonly candidates: readonly string[];
}

/** How the stream on the right compares with the one on the left. */
export interface Comparison extends BlockVerdict {
  readonly status: "equal" | "behind" | "ahead" | "forked";
  readonly left: StreamOutline;
  readonly right: StreamOutline;
}

/** Called with the blocks and bytes that were compared. */
export type Passed = (blocks: number, bytes: number) => Promise<void>;

/** A stream in a database, and the digest of its first page of blocks. */
export interface StoredOutline extends StreamOutline {
  readonly isOutside: boolean;
  readonly page: PageDigest;
}

interface PageDigest {
  last: bigint | null;
  isMore: boolean;
  blocks: number;
  bytes: number;
  digest: string;
}

const maxNumber = 2n ** 63n - 1n;

/** Reads a stream's outline; undefined if there is no such stream. */
export async function outlineOf(
  store: ReadStore,
  call: StreamCall,
): Promise<StoredOutline | undefined> {
  const { name, streamId, signal } = call;
  const { catalog, transactions } = store;
  const [heads, minipool, candidates, page] = await transactions.read(
    { name, tags: streamId, signal },
    [
      bind(catalog.of(streamId, selectStreamHead), streamId),
      bind(catalog.of(streamId, selectMinipoolDigests), streamId),
      bind(catalog.of(streamId, selectCandidateDigests), streamId),
      bind(catalog.of(streamId, selectPageDigest), streamId, 0n, maxNumber),
    ],
  );
  const row = heads.rows[0];
  if (row === undefined) return undefined;
  const [latest, isEphemeral, location, , stored] = row;
  const isOutside = location !== "D";
  const last = isOutside
    ? (await findLast(store, call))?.last ?? -1n
    : stored ?? -1n;
  const events = minipool.rows.map(([generation, slot, digest]) =>
    `${generation} ${slot} ${bytesToHex(digest)}`
  );
  return {
    kind: isEphemeral ? "ephemeral" : events.length > 0 ? "regular" : "archive",
    latestSnapshot: latestSnapshotOf(latest),
    last,
    minipool: events,
    candidates: candidates.rows.filter(([number]) => number > last)
      .map(([number, hash, data, snapshot]) =>
        `${number} ${hash} ${bytesToHex(data)} ${bytesToHex(snapshot)}`
      ),
    isOutside,
    page: pageOf(page.rows[0]!),
  };
}

/** Makes the outline of a stream that comes from a file. */
export function outlineOfParts(
  { kind, latestSnapshot }: StreamHead,
  last: bigint,
  { minipool, candidates }: StreamTail,
): StreamOutline {
  const { generation = 0n, envelopes = [] } = minipool ?? {};
  return {
    kind,
    latestSnapshot,
    last,
    minipool: minipool === undefined ? [] : [
      `${generation} -1 ${digestOf(new Uint8Array())}`,
      ...envelopes.map((envelope, slot) =>
        `${generation} ${slot} ${digestOf(envelope)}`
      ),
    ],
    candidates: candidates.map((candidate) => {
      const { number, data, snapshot } = digestsOfBlock(candidate);
      return `${number} ${candidate.hash} ${data} ${snapshot}`;
    }),
  };
}

/** A stream in one of the two places. */
export interface StreamAt {
  store: ReadStore;
  outline: StoredOutline;
}

/** Compares a stream in two databases. */
export async function compareStored(
  call: StreamCall,
  { left, right, passed }: { left: StreamAt; right: StreamAt; passed: Passed },
): Promise<Comparison> {
  const blocks = await compareBlocks(call, { left, right, passed });
  return judge(left.outline, right.outline, blocks);
}

/** Compares page by page, and block by block where pages differ. */
async function compareBlocks(
  call: StreamCall,
  { left, right, passed }: { left: StreamAt; right: StreamAt; passed: Passed },
): Promise<BlockVerdict> {
  let from = 0n;
  if (!left.outline.isOutside && !right.outline.isOutside) {
    let [l, r] = [left.outline.page, right.outline.page];
    for (;;) {
      await passed(l.blocks, l.bytes);
      if (l.digest !== r.digest || l.isMore !== r.isMore) break;
      if (!l.isMore) return { missing: 0, extra: 0 };
      from = l.last! + 1n;
      [l, r] = await Promise.all([
        pageFrom(left, call, from),
        pageFrom(right, call, from),
      ]);
    }
  }
  const digests = ({ store, outline: { last, isOutside } }: StreamAt) =>
    storedDigests(store, call, { from, last, isOutside });
  const [l, r] = [digests(left), digests(right)];
  try {
    return await mergeBlocks(l, r);
  } finally {
    await Promise.all([l.return(undefined), r.return(undefined)]);
  }
}

async function pageFrom(
  { store, outline }: StreamAt,
  { name, streamId, signal }: StreamCall,
  from: bigint,
): Promise<PageDigest> {
  const select = store.catalog.of(streamId, selectPageDigest);
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(select, streamId, from, outline.last)],
  );
  return pageOf(row!);
}

function pageOf(
  [last, isMore, blocks, bytes, digest]: readonly [
    bigint | null,
    boolean,
    bigint,
    bigint,
    Uint8Array,
  ],
): PageDigest {
  return {
    last,
    isMore,
    blocks: Number(blocks),
    bytes: Number(bytes),
    digest: bytesToHex(digest),
  };
}

const ranks: Readonly<Record<StoredKind, number>> = {
  ephemeral: 0,
  archive: 1,
  regular: 2,
};

/** Sums up the comparison. */
export function judge(
  left: StreamOutline,
  right: StreamOutline,
  blocks: BlockVerdict,
): Comparison {
  const has = (a: StreamOutline, b: StreamOutline) =>
    ranks[a.kind] > ranks[b.kind] || a.latestSnapshot > b.latestSnapshot ||
    a.last > b.last ||
    (a.last === b.last &&
      (hasOther(a.minipool, b.minipool) ||
        hasOther(a.candidates, b.candidates)));
  const lacks = blocks.missing > 0 || has(left, right);
  const hasMore = blocks.extra > 0 || has(right, left);
  const status = blocks.forkedAt !== undefined
    ? "forked"
    : lacks && right.last <= left.last
    ? "behind"
    : lacks || hasMore
    ? "ahead"
    : "equal";
  return { status, left, right, ...blocks };
}

function hasOther(a: readonly string[], b: readonly string[]): boolean {
  const others = new Set(b);
  return a.some((each) => !others.has(each));
}
