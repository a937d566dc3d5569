import type {
  MiniblockDescriptor,
  NewMinipool,
  OperationOptions,
  PreviousMinipool,
} from "./model.ts";
import type { StreamId } from "./stream_id.ts";
import type { StreamReader } from "./stream_reader.ts";

/**
 * Storage of streams: what can be read of them ({@linkcode StreamReader}, which
 * tells the errors that all methods have in common), and what changes them. What
 * would create a stream takes only an id that a node can read, as `isStreamId`
 * says; every other call takes any 64 lowercase hex digits, so that what is
 * stored can be read, listed and deleted. Byte arrays that are given must not
 * change until the call has settled.
 *
 * It reads, too, by every method of {@linkcode StreamReader}.
 *
 * @example An event, then the block that takes it.
 * ```ts
 * const bytes = (text: string) => new TextEncoder().encode(text);
 * await storage.writeEvent(streamId, 1n, 0, bytes("hello"));
 * await storage.writeMiniblocks(
 *   streamId,
 *   [{ number: 1n, data: bytes("a block with hello") }],
 *   { generation: 2n, envelopes: [] },
 *   { generation: 1n, size: 1 },
 * );
 * console.log(await storage.getLastMiniblockNumber(streamId)); // 1n
 * ```
 */
export interface StreamStorage extends StreamReader {
  /**
   * Creates a stream with block 0 and an empty minipool of generation 1. The
   * descriptor's number is ignored.
   *
   * Errors: `ALREADY_EXISTS`, unless the stored genesis has no data and the
   * latest snapshot is 0: such a stream is repaired with the new genesis.
   */
  createStreamStorage(
    streamId: StreamId,
    genesis: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Creates an ephemeral stream with block 0 and no minipool. It is swept
   * away unless it is normalized in time.
   *
   * Errors: `ALREADY_EXISTS`.
   */
  createEphemeralStreamStorage(
    streamId: StreamId,
    genesis: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Creates a stream without blocks, for `writeArchiveMiniblocks`.
   *
   * Errors: `ALREADY_EXISTS`.
   */
  createStreamArchiveStorage(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Creates a stream from blocks, or extends a known one by them: missing
   * blocks are added, stored ones kept, the latest snapshot becomes
   * `lastSnapshotMiniblockNum`, the minipool becomes empty, and candidates up
   * to the last block are removed. An archive stream becomes a regular one.
   *
   * Errors: `INVALID_ARGUMENT` for no blocks, numbers that are not
   * consecutive, a snapshot number outside them or without a snapshot, one
   * below the stored latest, or an end that is not above the last stored
   * block; `ALREADY_EXISTS` for a known stream unless `updateExisting`;
   * `FAILED_PRECONDITION` for an ephemeral or externally stored stream;
   * `INTERNAL` (`no_miniblocks`) for a known stream without blocks.
   */
  reinitializeStreamStorage(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    lastSnapshotMiniblockNum: bigint,
    updateExisting: boolean,
    options?: OperationOptions,
  ): Promise<void>;

  /** Removes everything that is stored of a stream. */
  deleteStream(streamId: StreamId, options?: OperationOptions): Promise<void>;

  /**
   * Adds an event to the minipool, which must be exactly of this generation
   * with `minipoolSlot` events. Calls for one stream that are made at the
   * same time are taken in the order in which they were made.
   *
   * Errors: `DB_OPERATION_FAILURE` with reason `minipool_generation_mismatch`
   * or `minipool_slot_mismatch`, details `expected` and `actual`;
   * `FAILED_PRECONDITION` for an externally stored stream.
   */
  writeEvent(
    streamId: StreamId,
    minipoolGeneration: bigint,
    minipoolSlot: number,
    envelope: Uint8Array,
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Adds blocks and replaces the minipool, all or nothing. Candidates below
   * the new generation are removed; the latest snapshot becomes the last
   * given block with one.
   *
   * Errors: `INTERNAL` for no blocks, numbers that are not consecutive or do
   * not fit the generations, a stored last block or minipool that is not the
   * previous one; `FAILED_PRECONDITION` for an ephemeral or externally stored
   * stream.
   */
  writeMiniblocks(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    newMinipool: NewMinipool,
    prevMinipool: PreviousMinipool,
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Adds blocks below the last stored one. Numbers that are stored already
   * are skipped; nothing else changes.
   *
   * Errors: `INVALID_ARGUMENT` for no blocks, numbers that are not
   * consecutive or an end that is not below the last stored block;
   * `FAILED_PRECONDITION` (`no_miniblocks`) when there is none.
   */
  writePrecedingMiniblocks(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Adds blocks to an archive stream. They are numbered from
   * `startMiniblockNum` on, whatever their descriptors say. An empty list
   * only checks the position.
   *
   * Errors: `DB_OPERATION_FAILURE` (`archive_position_mismatch`) when the
   * last stored block is not the one before; `FAILED_PRECONDITION` for an
   * ephemeral stream or one with a minipool.
   */
  writeArchiveMiniblocks(
    streamId: StreamId,
    startMiniblockNum: bigint,
    miniblocks: MiniblockDescriptor[],
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Adds a block to an ephemeral stream, in any order; creates the stream
   * when it is unknown.
   *
   * Errors: `ALREADY_EXISTS` when the number is stored
   * (`miniblock_exists`) or the stream is not ephemeral
   * (`stream_not_ephemeral`).
   */
  writeEphemeralMiniblock(
    streamId: StreamId,
    miniblock: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Makes a completely uploaded ephemeral stream a regular one and returns
   * the hash of its genesis header, 32 bytes.
   *
   * Errors: `NOT_FOUND` when the stream is not ephemeral or has no block 0;
   * `INTERNAL` when block 0 is not a media inception or its chunk count is
   * not the last number; `MINIBLOCKS_STORAGE_FAILURE` for a gap.
   */
  normalizeEphemeralStream(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<Uint8Array>;

  /**
   * Adds a candidate for a future block. The descriptor must have a hash.
   *
   * Errors: `NOT_FOUND` for a stream without blocks;
   * `MINIBLOCKS_STORAGE_FAILURE` (`candidate_too_old`) for a number that is
   * not above the last stored; `ALREADY_EXISTS` for the same number and hash.
   */
  writeMiniblockCandidate(
    streamId: StreamId,
    miniblock: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Deletes the blocks below `trimToMbExclusive`, then clears the snapshots
   * listed. Numbers in the list that are not stored, are below or have no
   * snapshot of their own are ignored.
   *
   * Errors: `INVALID_ARGUMENT` for a number above the latest snapshot, or the
   * latest snapshot in the list.
   */
  trimStream(
    streamId: StreamId,
    trimToMbExclusive: bigint,
    nullifySnapshotMbs: bigint[],
    options?: OperationOptions,
  ): Promise<void>;

  /**
   * Deletes the blocks of a range without any guard, for tests and support:
   * the one operation that may leave a stream broken.
   *
   * Errors: `INVALID_ARGUMENT` for a range that ends before it starts.
   */
  debugDeleteMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: OperationOptions,
  ): Promise<void>;
}
