import { checkOptions, checkStreamId } from "../storage/arguments.ts";
import { canceled, closed } from "../storage/contract_errors.ts";
import { isStreamStorageError, StreamStorageError } from "../storage/errors.ts";
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
} from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { StreamStorage } from "../storage/stream_storage.ts";
import type { StorageHealth } from "../telemetry/health.ts";
import { listStreams } from "./memory_lifecycle.ts";
import {
  type OperationArguments,
  type OperationName,
  type OperationResults,
  OPERATIONS,
} from "./memory_operations.ts";
import {
  cloneStream,
  type MemoryStream,
  type MemoryStreams,
  newStream,
} from "./memory_streams.ts";

const MAX_PARTITIONS = 256;
const PAGE_BLOCKS = 64;

/** The options of {@linkcode MemoryStreamStorage}. */
export interface MemoryStreamStorageOptions {
  /** For the suffixes in `debugReadStreamStatistics`; 1 to 256, default 256. */
  partitions?: number;
}

/**
 * Replaces what is stored of a stream by raw rows. The contract suite uses it
 * to start from streams that only older nodes leave behind.
 */
export let plantMemoryStream: (
  storage: MemoryStreamStorage,
  streamId: StreamId,
  rows: Partial<MemoryStream>,
) => void;

/**
 * A {@linkcode StreamStorage} in memory, for unit tests: the same results and
 * errors as the store on PostgreSQL, without timers, ready at once.
 *
 * Every call takes effect, wholly or not at all, when it is made. Nothing is
 * swept or trimmed in the background.
 *
 * @example
 * ```ts
 * import { MemoryStreamStorage } from "@towns/stream-storage";
 *
 * await using storage = new MemoryStreamStorage();
 * await storage.createStreamStorage(streamId, genesis);
 * console.log(await storage.getLastMiniblockNumber(streamId)); // 0n
 * ```
 */
export class MemoryStreamStorage implements StreamStorage {
  readonly #partitions: number;
  readonly #streams: MemoryStreams = new Map();
  #closed = false;
  /** When it was opened, or closed. */
  #since = new Date();

  static {
    plantMemoryStream = (storage, streamId, rows) => {
      storage.#streams.set(streamId, cloneStream(newStream(rows)));
    };
  }

  /** Makes an empty store. Errors: `BAD_CONFIG` for bad options. */
  constructor(options: MemoryStreamStorageOptions = {}) {
    const { partitions = MAX_PARTITIONS } = options;
    if (
      !Number.isInteger(partitions) || partitions < 1 ||
      partitions > MAX_PARTITIONS
    ) {
      throw new StreamStorageError({
        code: "BAD_CONFIG",
        message: "Option partitions must be an integer from 1 to 256, " +
          `received ${partitions}`,
        details: { reason: "bad_config", option: "partitions" },
      });
    }
    this.#partitions = partitions;
  }

  /** An open store with the same content, which then changes independently. */
  clone(): MemoryStreamStorage {
    const clone = new MemoryStreamStorage({ partitions: this.#partitions });
    for (const [streamId, stream] of this.#streams) {
      clone.#streams.set(streamId, cloneStream(stream));
    }
    return clone;
  }

  /** See {@linkcode StreamStorage.createStreamStorage}. */
  createStreamStorage(
    streamId: StreamId,
    genesis: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call("createStreamStorage", options, streamId, genesis);
  }

  /** See {@linkcode StreamStorage.createEphemeralStreamStorage}. */
  createEphemeralStreamStorage(
    streamId: StreamId,
    genesis: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call(
      "createEphemeralStreamStorage",
      options,
      streamId,
      genesis,
    );
  }

  /** See {@linkcode StreamStorage.createStreamArchiveStorage}. */
  createStreamArchiveStorage(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call("createStreamArchiveStorage", options, streamId);
  }

  /** See {@linkcode StreamStorage.reinitializeStreamStorage}. */
  reinitializeStreamStorage(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    lastSnapshotMiniblockNum: bigint,
    updateExisting: boolean,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call(
      "reinitializeStreamStorage",
      options,
      streamId,
      miniblocks,
      lastSnapshotMiniblockNum,
      updateExisting,
    );
  }

  /** See {@linkcode StreamStorage.deleteStream}. */
  deleteStream(streamId: StreamId, options?: OperationOptions): Promise<void> {
    return this.#call("deleteStream", options, streamId);
  }

  /** See {@linkcode StreamStorage.writeEvent}. */
  writeEvent(
    streamId: StreamId,
    minipoolGeneration: bigint,
    minipoolSlot: number,
    envelope: Uint8Array,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call(
      "writeEvent",
      options,
      streamId,
      minipoolGeneration,
      minipoolSlot,
      envelope,
    );
  }

  /** See {@linkcode StreamStorage.writeMiniblocks}. */
  writeMiniblocks(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    newMinipool: NewMinipool,
    prevMinipool: PreviousMinipool,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call(
      "writeMiniblocks",
      options,
      streamId,
      miniblocks,
      newMinipool,
      prevMinipool,
    );
  }

  /** See {@linkcode StreamStorage.writePrecedingMiniblocks}. */
  writePrecedingMiniblocks(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call(
      "writePrecedingMiniblocks",
      options,
      streamId,
      miniblocks,
    );
  }

  /** See {@linkcode StreamStorage.writeArchiveMiniblocks}. */
  writeArchiveMiniblocks(
    streamId: StreamId,
    startMiniblockNum: bigint,
    miniblocks: MiniblockDescriptor[],
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call(
      "writeArchiveMiniblocks",
      options,
      streamId,
      startMiniblockNum,
      miniblocks,
    );
  }

  /** See {@linkcode StreamStorage.writeEphemeralMiniblock}. */
  writeEphemeralMiniblock(
    streamId: StreamId,
    miniblock: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call("writeEphemeralMiniblock", options, streamId, miniblock);
  }

  /** See {@linkcode StreamStorage.normalizeEphemeralStream}. */
  normalizeEphemeralStream(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<Uint8Array> {
    return this.#call("normalizeEphemeralStream", options, streamId);
  }

  /** See {@linkcode StreamStorage.writeMiniblockCandidate}. */
  writeMiniblockCandidate(
    streamId: StreamId,
    miniblock: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call("writeMiniblockCandidate", options, streamId, miniblock);
  }

  /** See {@linkcode StreamStorage.readMiniblockCandidate}. */
  readMiniblockCandidate(
    streamId: StreamId,
    blockHash: Uint8Array,
    blockNumber: bigint,
    options?: OperationOptions,
  ): Promise<MiniblockDescriptor> {
    return this.#call(
      "readMiniblockCandidate",
      options,
      streamId,
      blockHash,
      blockNumber,
    );
  }

  /** See {@linkcode StreamStorage.getMiniblockCandidateCount}. */
  getMiniblockCandidateCount(
    streamId: StreamId,
    miniblockNumber: bigint,
    options?: OperationOptions,
  ): Promise<number> {
    return this.#call(
      "getMiniblockCandidateCount",
      options,
      streamId,
      miniblockNumber,
    );
  }

  /** See {@linkcode StreamStorage.readStreamFromLastSnapshot}. */
  readStreamFromLastSnapshot(
    streamId: StreamId,
    numPrecedingMiniblocks: number,
    options?: OperationOptions,
  ): Promise<ReadStreamFromLastSnapshotResult> {
    return this.#call(
      "readStreamFromLastSnapshot",
      options,
      streamId,
      numPrecedingMiniblocks,
    );
  }

  /** See {@linkcode StreamStorage.readMiniblocks}. */
  readMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: ReadMiniblocksOptions,
  ): Promise<ReadMiniblocksResult> {
    return this.#call(
      "readMiniblocks",
      options,
      streamId,
      fromInclusive,
      toExclusive,
      options,
      {},
    );
  }

  /** See {@linkcode StreamStorage.streamMiniblocks}. */
  async *streamMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: ReadMiniblocksOptions,
  ): AsyncGenerator<MiniblockDescriptor, void, undefined> {
    const name = "streamMiniblocks";
    const page = { limit: PAGE_BLOCKS, continued: false };
    let from = fromInclusive;
    let count = PAGE_BLOCKS;
    while (count === PAGE_BLOCKS) {
      const { miniblocks } = await this.#call(
        name,
        options,
        streamId,
        from,
        toExclusive,
        options,
        page,
      );
      for (const miniblock of miniblocks) {
        if (options?.signal?.aborted) {
          throw canceled(options.signal.reason).withOperation(name);
        }
        yield miniblock;
      }
      count = miniblocks.length;
      from = (miniblocks.at(-1)?.number ?? from) + 1n;
      page.continued = true;
    }
  }

  /** See {@linkcode StreamStorage.readEphemeralMiniblockNums}. */
  readEphemeralMiniblockNums(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint[]> {
    return this.#call("readEphemeralMiniblockNums", options, streamId);
  }

  /** See {@linkcode StreamStorage.getLastMiniblockNumber}. */
  getLastMiniblockNumber(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint> {
    return this.#call("getLastMiniblockNumber", options, streamId);
  }

  /** See {@linkcode StreamStorage.getMaxArchivedMiniblockNumber}. */
  getMaxArchivedMiniblockNumber(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint> {
    return this.#call("getMaxArchivedMiniblockNumber", options, streamId);
  }

  /** See {@linkcode StreamStorage.getMiniblockNumberRanges}. */
  getMiniblockNumberRanges(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<MiniblockRange[]> {
    return this.#call("getMiniblockNumberRanges", options, streamId);
  }

  /** See {@linkcode StreamStorage.isStreamEphemeral}. */
  isStreamEphemeral(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<boolean> {
    return this.#call("isStreamEphemeral", options, streamId);
  }

  /** See {@linkcode StreamStorage.streamMiniblocksStoredLocation}. */
  streamMiniblocksStoredLocation(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<MiniblocksStoredLocation> {
    return this.#call("streamMiniblocksStoredLocation", options, streamId);
  }

  /** See {@linkcode StreamStorage.getStreams}. */
  getStreams(options: GetStreamsOptions = {}): Promise<StreamId[]> {
    return this.#run(
      "getStreams",
      options,
      (streams) => listStreams(streams, options),
    );
  }

  /** See {@linkcode StreamStorage.getStreamsNumber}. */
  getStreamsNumber(options?: OperationOptions): Promise<number> {
    return this.#run("getStreamsNumber", options, (streams) => streams.size);
  }

  /** See {@linkcode StreamStorage.trimStream}. */
  trimStream(
    streamId: StreamId,
    trimToMbExclusive: bigint,
    nullifySnapshotMbs: bigint[],
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call(
      "trimStream",
      options,
      streamId,
      trimToMbExclusive,
      nullifySnapshotMbs,
    );
  }

  /** See {@linkcode StreamStorage.debugReadStreamData}. */
  debugReadStreamData(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamDataResult> {
    return this.#call("debugReadStreamData", options, streamId);
  }

  /** See {@linkcode StreamStorage.debugReadStreamStatistics}. */
  debugReadStreamStatistics(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamStatisticsResult> {
    return this.#call(
      "debugReadStreamStatistics",
      options,
      streamId,
      this.#partitions,
    );
  }

  /** See {@linkcode StreamStorage.debugDeleteMiniblocks}. */
  debugDeleteMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#call(
      "debugDeleteMiniblocks",
      options,
      streamId,
      fromInclusive,
      toExclusive,
    );
  }

  /** Ready until it is closed, in the form of a store in PostgreSQL. */
  health(): StorageHealth {
    return {
      ready: !this.#closed,
      state: this.#closed ? "closed" : "ready",
      database: { available: true },
      since: this.#since.toISOString(),
    };
  }

  /** Makes every later call fail. Idempotent. */
  close(): Promise<void> {
    if (!this.#closed) this.#since = new Date();
    this.#closed = true;
    return Promise.resolve();
  }

  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Runs an operation on one stream. */
  #call<Name extends OperationName>(
    name: Name,
    options: OperationOptions | undefined,
    streamId: StreamId,
    ...rest: OperationArguments[Name]
  ): Promise<OperationResults[Name]> {
    return this.#run(name, options, (streams) => {
      checkStreamId(streamId);
      return OPERATIONS[name](streams, streamId, ...rest);
    });
  }

  /**
   * Runs an operation synchronously, so that it reads the arguments before the
   * caller can change them.
   */
  #run<T>(
    name: string,
    options: OperationOptions | undefined,
    body: (streams: MemoryStreams) => T,
  ): Promise<T> {
    try {
      if (this.#closed) throw closed();
      checkOptions(options);
      if (options?.signal?.aborted) throw canceled(options.signal.reason);
      return Promise.resolve(body(this.#streams));
    } catch (error) {
      return Promise.reject(
        isStreamStorageError(error) ? error.withOperation(name) : error,
      );
    }
  }
}
