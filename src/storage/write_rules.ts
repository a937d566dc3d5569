/**
 * Pure rules of the writes: what must be stored for a write to be accepted.
 * Over plain rows, checked under the stream's lock; SQL states some of them
 * again (postgres/sql/), for checks in the server.
 *
 * @module
 */
import {
  chunkCountMismatch,
  lastMiniblockMismatch,
  miniblockGap,
  minipoolGenerationMismatch,
  minipoolMissing,
  minipoolSizeMismatch,
  minipoolSlotMismatch,
  noGenesis,
  noMiniblocks,
  notMediaInception,
  rebuildNotAboveLast,
  snapshotBeforeLatest,
  snapshotNotStorable,
} from "./contract_errors.ts";
import { hasLegacySnapshot, readMediaInception } from "./miniblock_proto.ts";
import type { MiniblockDescriptor, PreviousMinipool } from "./model.ts";
import {
  checkMinipool,
  latestSnapshotOf,
  type MiniblockRow,
  type MinipoolKey,
} from "./rules.ts";

/** Whether a block has a snapshot beside it or, if declared, inside it. */
function carriesSnapshot(block: MiniblockDescriptor): boolean {
  return hasOwnSnapshot(block) || block.hasLegacySnapshot === true;
}

/** Whether a block has a snapshot beside it; an empty one does not count. */
export function hasOwnSnapshot(
  block: Pick<MiniblockRow, "snapshot">,
): boolean {
  return (block.snapshot?.length ?? 0) > 0;
}

/** The number of the last given block with a snapshot, if any has one. */
export function lastSnapshotIn(
  miniblocks: readonly MiniblockDescriptor[],
): bigint | undefined {
  return miniblocks.findLast(carriesSnapshot)?.number;
}

/**
 * Whether `createStreamStorage` repairs a known stream instead of refusing it:
 * its genesis has zero length and its latest snapshot is 0. `genesis` is the
 * stored data of block 0, if there is one.
 */
export function isRepairable(stream: {
  latestSnapshot: bigint;
  ephemeral: boolean;
  genesis: Uint8Array | undefined;
}): boolean {
  return !stream.ephemeral && latestSnapshotOf(stream.latestSnapshot) === 0n &&
    stream.genesis?.length === 0;
}

/**
 * Checks a `writeEvent` against the oldest and the newest minipool row.
 *
 * Errors: `DB_OPERATION_FAILURE` with `minipool_generation_mismatch` or
 * `minipool_slot_mismatch`.
 */
export function checkMinipoolHead(
  streamId: string,
  head: { oldest: MinipoolKey; newest: MinipoolKey } | undefined,
  generation: bigint,
  slot: number,
): void {
  for (const row of head ? [head.oldest, head.newest] : [undefined]) {
    if (row?.generation !== generation) {
      throw minipoolGenerationMismatch(
        "DB_OPERATION_FAILURE",
        streamId,
        generation,
        row?.generation,
      );
    }
  }
  if (head !== undefined && head.oldest.slot !== -1) {
    throw minipoolSlotMismatch(streamId, -1, head.oldest.slot);
  }
  if (head !== undefined && head.newest.slot + 1 !== slot) {
    throw minipoolSlotMismatch(streamId, slot, head.newest.slot + 1);
  }
}

/**
 * Checks a `writeMiniblocks` against the last stored number (`undefined`: no
 * block) and all minipool rows by generation and slot.
 *
 * Errors: `INTERNAL` with `no_miniblocks`, `last_miniblock_mismatch`,
 * `minipool_generation_mismatch`, `minipool_hole`, `minipool_size_mismatch`
 * or `minipool_missing`.
 */
export function checkMiniblocksFit(
  streamId: string,
  stored: { last: bigint | undefined; minipool: readonly MinipoolKey[] },
  prevMinipool: PreviousMinipool,
): void {
  const { generation, size } = prevMinipool;
  if (stored.last === undefined) throw noMiniblocks("INTERNAL", streamId);
  if (stored.last + 1n !== generation) {
    throw lastMiniblockMismatch(streamId, generation, stored.last);
  }
  checkMinipool("INTERNAL", streamId, stored.minipool, generation);
  const events = Math.max(stored.minipool.length - 1, 0);
  if (size !== undefined && size !== events) {
    throw minipoolSizeMismatch(streamId, size, events);
  }
  if (size === undefined && stored.minipool.length === 0) {
    throw minipoolMissing(streamId);
  }
}

/**
 * Checks a `reinitializeStreamStorage` of a known stream against what is
 * stored. Returns the snapshot to add to the stored block at `snapshot`, if one
 * must be added. `snapshotRow` is that stored block, if there is one.
 *
 * Errors: `INVALID_ARGUMENT` with `snapshot_before_latest`, `not_above_last` or
 * `snapshot_not_storable`; `INTERNAL` with `no_miniblocks`.
 */
export function checkRebuild(
  streamId: string,
  given: { miniblocks: readonly MiniblockDescriptor[]; snapshot: bigint },
  stored: {
    latestSnapshot: bigint;
    last: bigint | undefined;
    snapshotRow: MiniblockRow | undefined;
  },
): Uint8Array | undefined {
  const latest = latestSnapshotOf(stored.latestSnapshot);
  if (given.snapshot < latest) {
    throw snapshotBeforeLatest(streamId, given.snapshot, latest);
  }
  if (stored.last === undefined) throw noMiniblocks("INTERNAL", streamId);
  const end = given.miniblocks.at(-1)?.number ?? -1n;
  if (end <= stored.last) {
    throw rebuildNotAboveLast(streamId, end, stored.last);
  }
  const row = stored.snapshotRow;
  if (
    row === undefined || hasOwnSnapshot(row) || hasLegacySnapshot(row.data)
  ) {
    return undefined;
  }
  const block = given.miniblocks.find(({ number }) => number === row.number);
  if (block?.snapshot === undefined || block.snapshot.length === 0) {
    throw snapshotNotStorable(streamId, row.number);
  }
  return block.snapshot;
}

/**
 * Checks a `normalizeEphemeralStream`. `genesis` is the data of block 0, if it
 * is stored; `numbers` are all stored numbers, ascending. Returns the genesis
 * header's hash and the last number.
 *
 * Errors: `NOT_FOUND` (`no_genesis`), `INTERNAL` (`not_media_inception`,
 * `chunk_count_mismatch`), `MINIBLOCKS_STORAGE_FAILURE` (`miniblock_gap`).
 */
export function checkSealable(
  streamId: string,
  genesis: Uint8Array | undefined,
  numbers: readonly bigint[],
): { headerHash: Uint8Array; last: bigint } {
  if (genesis === undefined) throw noGenesis(streamId);
  const inception = readMediaInception(genesis);
  if (inception === undefined) throw notMediaInception(streamId);
  for (const [index, number] of numbers.entries()) {
    if (number !== BigInt(index)) {
      throw miniblockGap(
        "MINIBLOCKS_STORAGE_FAILURE",
        streamId,
        BigInt(index),
        number,
      );
    }
  }
  const last = BigInt(numbers.length) - 1n;
  const chunks = BigInt(inception.chunkCount);
  if (chunks !== last) throw chunkCountMismatch(streamId, chunks, last);
  return { headerHash: inception.headerHash, last };
}
