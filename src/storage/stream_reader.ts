import type {
  DebugReadStreamDataResult,
  DebugReadStreamStatisticsResult,
  GetStreamsOptions,
  MiniblockDescriptor,
  MiniblockRange,
  MiniblocksStoredLocation,
  OperationOptions,
  ReadMiniblocksOptions,
  ReadMiniblocksResult,
  ReadStreamFromLastSnapshotResult,
} from "./model.ts";
import type { StreamId } from "./stream_id.ts";

/**
 * Reads what is stored of streams. A stream has miniblocks (immutable, numbered
 * blocks), a minipool (events that wait for the next block) and candidates for
 * the next blocks.
 *
 * Every method fails with a `StreamStorageError`. Common to all are:
 * `BAD_STREAM_ID` and `INVALID_ARGUMENT` for a malformed argument, before
 * anything is read or written; `FAILED_PRECONDITION` (reason `closed`) after
 * close; `CANCELED` for an aborted signal; `DEADLINE_EXCEEDED` and
 * `DB_OPERATION_FAILURE` for errors of the database; and, unless stated
 * otherwise, `NOT_FOUND` (reason `stream_not_found`) for an unknown stream.
 * Returned byte arrays belong to the caller.
 *
 * @example All blocks of a stream, in memory bounded by a page.
 * ```ts
 * const last = await storage.getLastMiniblockNumber(streamId);
 * for await (const block of storage.streamMiniblocks(streamId, 0n, last + 1n)) {
 *   console.log(block.number, block.data.length); // 0n 1
 * }
 * ```
 */
export interface StreamReader extends AsyncDisposable {
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
   * What a node needs to load a stream: the blocks from the latest snapshot on,
   * up to `numPrecedingMiniblocks` before it, and the minipool.
   *
   * Errors: `NOT_FOUND` (`corrupt_stream`) without blocks or with an empty one;
   * `INTERNAL` when the latest snapshot is not in the last run of blocks;
   * `MINIBLOCKS_STORAGE_FAILURE` for a minipool that does not follow the last
   * block or has a hole.
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
   * The blocks of `readMiniblocks`, with the same checks and errors, one page
   * at a time: memory is bounded by a page.
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
   * Errors: `NOT_FOUND` also for a stream that is not ephemeral.
   */
  readEphemeralMiniblockNums(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint[]>;

  /**
   * The number of the last block.
   *
   * Errors: `NOT_FOUND` also for a stream without blocks (`no_miniblocks`) or
   * with only a genesis of zero length (`corrupt_stream`).
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
   * snapshot, own or legacy. The first call for a stream reads its blocks. If
   * that takes longer than a call may, the call fails (`DEADLINE_EXCEEDED`,
   * retryable), and the next call continues from there.
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

  /** Everything stored of a stream, for tests and support. */
  debugReadStreamData(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamDataResult>;

  /** Statistics of what is stored of a stream, for tests and support. */
  debugReadStreamStatistics(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamStatisticsResult>;

  /**
   * Finishes accepted calls and releases all resources. Idempotent; the same as
   * `[Symbol.asyncDispose]`.
   */
  close(): Promise<void>;
}
