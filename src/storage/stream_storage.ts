import type {
  DebugReadStreamDataResult,
  DebugReadStreamStatisticsResult,
  GetStreamsOptions,
  MiniblockDescriptor,
  MiniblockRange,
  MiniblocksStoredLocation,
  NewMinipool,
  OperationOptions,
  PreviousMinipool,
  ReadMiniblocksOptions,
  ReadMiniblocksResult,
  ReadStreamFromLastSnapshotResult,
} from "./model.ts";
import type { StreamId } from "./stream_id.ts";

/**
 * Storage of streams: per stream its miniblocks (immutable blocks, numbered),
 * its minipool (events waiting for the next block) and the candidates for the
 * next blocks.
 *
 * Every method fails with a `StreamStorageError`. Common to all:
 * `BAD_STREAM_ID` and `INVALID_ARGUMENT` for a malformed argument, before
 * anything is read or written; `FAILED_PRECONDITION` (reason `closed`) after
 * close; `CANCELED` for an aborted signal; `DEADLINE_EXCEEDED` and
 * `DB_OPERATION_FAILURE` for what the database says; and, unless told
 * otherwise, `NOT_FOUND` (reason `stream_not_found`) for an unknown stream.
 * Byte arrays that are given must not change until the call has settled; those
 * that are returned are the caller's own.
 */
export interface StreamStorage extends AsyncDisposable {
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
   * The candidate with this hash (32 bytes) and number.
   *
   * Errors: `NOT_FOUND` (`candidate_not_found`).
   */
  readMiniblockCandidate(
    streamId: StreamId,
    blockHash: Uint8Array,
    blockNumber: bigint,
    options?: OperationOptions,
  ): Promise<MiniblockDescriptor>;

  /** The number of candidates for one block number, 0 when none. */
  getMiniblockCandidateCount(
    streamId: StreamId,
    miniblockNumber: bigint,
    options?: OperationOptions,
  ): Promise<number>;

  /**
   * What is needed to load a stream: the blocks from the latest snapshot on,
   * up to `numPrecedingMiniblocks` before it, and the minipool.
   *
   * Errors: `NOT_FOUND` (`corrupt_stream`) without blocks or with an empty
   * one; `INTERNAL` when the latest snapshot is not in the last run of
   * blocks; `MINIBLOCKS_STORAGE_FAILURE` for a minipool that does not follow
   * the last block or has a hole.
   */
  readStreamFromLastSnapshot(
    streamId: StreamId,
    numPrecedingMiniblocks: number,
    options?: OperationOptions,
  ): Promise<ReadStreamFromLastSnapshotResult>;

  /**
   * The stored blocks of a range of numbers.
   *
   * Errors: `INVALID_ARGUMENT` for a range that ends before it starts;
   * `MINIBLOCKS_NOT_FOUND` (`miniblock_gap`) for a gap inside the blocks
   * returned or before the first of them.
   */
  readMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: ReadMiniblocksOptions,
  ): Promise<ReadMiniblocksResult>;

  /**
   * The blocks of `readMiniblocks`, with the same checks and errors, page by
   * page in memory bounded by a page.
   */
  streamMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: ReadMiniblocksOptions,
  ): AsyncIterable<MiniblockDescriptor>;

  /**
   * The numbers of an ephemeral stream's blocks, ascending.
   *
   * Errors: `NOT_FOUND` also when the stream is not ephemeral.
   */
  readEphemeralMiniblockNums(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint[]>;

  /**
   * The number of the last block.
   *
   * Errors: `NOT_FOUND` also without blocks (`no_miniblocks`) or with nothing
   * but a genesis of zero length (`corrupt_stream`).
   */
  getLastMiniblockNumber(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint>;

  /** The number of the last block, -1 when there is none. */
  getMaxArchivedMiniblockNumber(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint>;

  /**
   * The runs of stored blocks, ascending, with the numbers that carry a
   * snapshot, own or legacy. The first call for a stream reads its blocks; if
   * that takes longer than a call has, the next one goes on (`DEADLINE_EXCEEDED`,
   * retryable).
   */
  getMiniblockNumberRanges(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<MiniblockRange[]>;

  /** Whether the stream is ephemeral. */
  isStreamEphemeral(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<boolean>;

  /** Where the stream's blocks are. */
  streamMiniblocksStoredLocation(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<MiniblocksStoredLocation>;

  /** The ids of all streams or of one page of them, ascending. */
  getStreams(options?: GetStreamsOptions): Promise<StreamId[]>;

  /** The number of streams. */
  getStreamsNumber(options?: OperationOptions): Promise<number>;

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

  /** Everything that is stored of a stream, for tests and support. */
  debugReadStreamData(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamDataResult>;

  /** What is stored of a stream in numbers, for tests and support. */
  debugReadStreamStatistics(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamStatisticsResult>;

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

  /**
   * Finishes what was accepted and lets go of all resources. Idempotent; the
   * same as `[Symbol.asyncDispose]`.
   */
  close(): Promise<void>;
}
