/** Compares the blocks of one stream in two places by their digests. */

import { createHash } from "node:crypto";
import { bind } from "../../../database/statement.ts";
import { findPage } from "../../../postgres/operations/read_miniblocks.ts";
import type { ReadStore, StreamCall } from "../../../postgres/store.ts";
import type { MiniblockRow } from "../../../storage/rules.ts";
import { bytesToHex } from "../../../storage/stream_id.ts";
import { selectBlockDigests } from "./digests_sql.ts";

/** The hexadecimal digests of a block. */
export interface BlockDigest {
  number: bigint;
  data: string;
  snapshot: string;
}

/** How the blocks on the left compare with those on the right. */
export interface BlockVerdict {
  /** The first block whose bytes differ on the right. */
  forkedAt?: bigint;
  /** Blocks and snapshots that the right lacks. */
  missing: number;
  /** The first block that the right lacks. */
  firstMissing?: bigint;
  /** Blocks and snapshots that the left lacks. */
  extra: number;
}

/** The hexadecimal digest of bytes. */
export function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

const nothing = digestOf(new Uint8Array());

/** The digests of a block that is in memory. */
export function digestsOfBlock(
  { number, data, snapshot }: MiniblockRow,
): BlockDigest {
  return {
    number,
    data: digestOf(data),
    snapshot: snapshot?.length ? digestOf(snapshot) : nothing,
  };
}

/** Compares blocks in ascending order, and stops at the first fork. */
export async function mergeBlocks(
  left: AsyncIterator<BlockDigest>,
  right: AsyncIterator<BlockDigest>,
): Promise<BlockVerdict> {
  const verdict: BlockVerdict = { missing: 0, extra: 0 };
  const lacks = (number: bigint) => {
    verdict.missing++;
    verdict.firstMissing ??= number;
  };
  let [l, r] = [await left.next(), await right.next()];
  while (!l.done || !r.done) {
    if (r.done || (!l.done && l.value.number < r.value.number)) {
      lacks(l.value!.number);
      l = await left.next();
    } else if (l.done || l.value.number > r.value.number) {
      verdict.extra++;
      r = await right.next();
    } else {
      const { number, data, snapshot } = l.value;
      const other = r.value;
      const isOtherSnapshot = snapshot !== other.snapshot;
      const isFork = data !== other.data ||
        (isOtherSnapshot && snapshot !== nothing && other.snapshot !== nothing);
      if (isFork) return { ...verdict, forkedAt: number };
      if (isOtherSnapshot && snapshot === nothing) verdict.extra++;
      else if (isOtherSnapshot) lacks(number);
      [l, r] = [await left.next(), await right.next()];
    }
  }
  return verdict;
}

/**
 * The digests of the stored blocks `from` to `last`. The server computes those
 * of blocks in the database.
 */
export async function* storedDigests(
  store: ReadStore,
  call: StreamCall,
  { from, last, isOutside, passed }: {
    from: bigint;
    last: bigint;
    isOutside: boolean;
    passed?: (blocks: number, bytes: number) => Promise<void>;
  },
): AsyncGenerator<BlockDigest> {
  const { streamId, name, signal } = call;
  for (let at = from; at <= last;) {
    if (isOutside) {
      const read = { from: at, last, omitSnapshot: false };
      const page = await findPage(store, call, read);
      const blocks = page?.blocks ?? [];
      yield* blocks.map(digestsOfBlock);
      if (!page?.hasNext || blocks.length === 0) return;
      at = blocks.at(-1)!.number + 1n;
    } else {
      const select = store.catalog.of(streamId, selectBlockDigests);
      const [{ rows }] = await store.transactions.read(
        { name, tags: streamId, signal },
        [bind(select, streamId, at, last)],
      );
      let bytes = 0;
      for (const [number, data, snapshot, size] of rows) {
        bytes += Number(size);
        yield {
          number,
          data: bytesToHex(data),
          snapshot: bytesToHex(snapshot),
        };
      }
      await passed?.(rows.length, bytes);
      if (rows.length === 0) return;
      at = rows.at(-1)![0] + 1n;
    }
  }
}
