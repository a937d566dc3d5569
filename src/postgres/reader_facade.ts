import {
  checkCandidateCount,
  checkGetStreams,
  checkReadCandidate,
  checkReadMiniblocks,
  checkReadStream,
} from "../storage/arguments.ts";
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
} from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { StorageHealth } from "../telemetry/health.ts";
import type { MetricFamily } from "../telemetry/registry.ts";
import type { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import type { CallRunner } from "./call_runner.ts";
import { debugReadData, debugReadStatistics } from "./operations/debug.ts";
import { countAllStreams, listStreams } from "./operations/list_streams.ts";
import {
  lastMiniblockNumber,
  miniblockRanges,
} from "./operations/miniblock_numbers.ts";
import {
  countCandidatesAt,
  readCandidate,
} from "./operations/read_candidates.ts";
import { readEphemeralNumbers } from "./operations/read_ephemeral.ts";
import {
  readMiniblocks,
  streamMiniblocks,
} from "./operations/read_miniblocks.ts";
import { readStream } from "./operations/read_stream.ts";
import {
  dataSizeInDatabase,
  maxArchivedNumber,
  streamFacts,
} from "./operations/stream_facts.ts";
import type { PostgresStreamReader } from "./postgres_stream_reader.ts";
import type { ReadStore } from "./store.ts";

/** What a {@linkcode StreamReaderFacade} is made of; see open_reader.ts. */
export interface ReaderParts {
  schema: string;
  /** For reads of callers, who wait for a locked table until their deadline. */
  reader: ReadStore;
  calls: CallRunner;
  telemetry: StoreTelemetry;
  /** Ends what is under way and lets go; called once, after the last call. */
  close(): Promise<void>;
}

/**
 * Checks the arguments of every call, hands it to its operation, and names the
 * operation in what it throws. As long as the interface: one method each.
 */
export class StreamReaderFacade implements PostgresStreamReader {
  /** The schema that is read. */
  readonly schema: string;
  protected readonly calls: CallRunner;
  readonly #parts: ReaderParts;
  readonly #store: ReadStore;
  #closing: Promise<void> | undefined;

  constructor(parts: ReaderParts) {
    this.schema = parts.schema;
    this.calls = parts.calls;
    this.#parts = parts;
    this.#store = parts.reader;
  }

  /** Partitions per kind of table, as the first installation fixed it. */
  get partitions(): number {
    return this.#store.catalog.partitions;
  }

  /** See {@linkcode StreamReader.readStreamFromLastSnapshot}. */
  readStreamFromLastSnapshot(
    streamId: StreamId,
    numPrecedingMiniblocks: number,
    options?: OperationOptions,
  ): Promise<ReadStreamFromLastSnapshotResult> {
    return this.calls.onStream(
      "readStreamFromLastSnapshot",
      streamId,
      options,
      (call) => {
        checkReadStream(numPrecedingMiniblocks);
        return readStream(this.#store, call, numPrecedingMiniblocks);
      },
    );
  }

  /** See {@linkcode StreamReader.readMiniblocks}. */
  readMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: ReadMiniblocksOptions,
  ): Promise<ReadMiniblocksResult> {
    return this.calls.onStream("readMiniblocks", streamId, options, (call) => {
      checkReadMiniblocks(fromInclusive, toExclusive, options);
      return readMiniblocks(this.#store, call, {
        from: fromInclusive,
        to: toExclusive,
        omitSnapshot: options?.omitSnapshot ?? false,
      });
    });
  }

  /** See {@linkcode StreamReader.streamMiniblocks}. */
  streamMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: ReadMiniblocksOptions,
  ): AsyncGenerator<MiniblockDescriptor, void, undefined> {
    return this.calls.iterate("streamMiniblocks", streamId, options, (call) => {
      checkReadMiniblocks(fromInclusive, toExclusive, options);
      return streamMiniblocks(this.#store, call, {
        from: fromInclusive,
        to: toExclusive,
        omitSnapshot: options?.omitSnapshot ?? false,
      });
    });
  }

  /** See {@linkcode StreamReader.readMiniblockCandidate}. */
  readMiniblockCandidate(
    streamId: StreamId,
    blockHash: Uint8Array,
    blockNumber: bigint,
    options?: OperationOptions,
  ): Promise<MiniblockDescriptor> {
    return this.calls.onStream(
      "readMiniblockCandidate",
      streamId,
      options,
      (call) => {
        checkReadCandidate(blockHash, blockNumber);
        return readCandidate(this.#store, call, blockHash, blockNumber);
      },
    );
  }

  /** See {@linkcode StreamReader.getMiniblockCandidateCount}. */
  getMiniblockCandidateCount(
    streamId: StreamId,
    miniblockNumber: bigint,
    options?: OperationOptions,
  ): Promise<number> {
    return this.calls.onStream(
      "getMiniblockCandidateCount",
      streamId,
      options,
      (call) => {
        checkCandidateCount(miniblockNumber);
        return countCandidatesAt(this.#store, call, miniblockNumber);
      },
    );
  }

  /** See {@linkcode StreamReader.readEphemeralMiniblockNums}. */
  readEphemeralMiniblockNums(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint[]> {
    return this.calls.onStream(
      "readEphemeralMiniblockNums",
      streamId,
      options,
      (call) => readEphemeralNumbers(this.#store, call),
    );
  }

  /** See {@linkcode StreamReader.getLastMiniblockNumber}. */
  getLastMiniblockNumber(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint> {
    return this.calls.onStream(
      "getLastMiniblockNumber",
      streamId,
      options,
      (call) => lastMiniblockNumber(this.#store, call),
    );
  }

  /** See {@linkcode StreamReader.getMaxArchivedMiniblockNumber}. */
  getMaxArchivedMiniblockNumber(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint> {
    return this.calls.onStream(
      "getMaxArchivedMiniblockNumber",
      streamId,
      options,
      (call) => maxArchivedNumber(this.#store, call),
    );
  }

  /** See {@linkcode StreamReader.getMiniblockNumberRanges}. */
  getMiniblockNumberRanges(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<MiniblockRange[]> {
    return this.calls.onStream(
      "getMiniblockNumberRanges",
      streamId,
      options,
      (call) => miniblockRanges(this.#store, call),
    );
  }

  /** See {@linkcode StreamReader.isStreamEphemeral}. */
  isStreamEphemeral(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<boolean> {
    return this.calls.onStream(
      "isStreamEphemeral",
      streamId,
      options,
      async (call) => (await streamFacts(this.#store, call)).ephemeral,
    );
  }

  /** See {@linkcode StreamReader.streamMiniblocksStoredLocation}. */
  streamMiniblocksStoredLocation(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<MiniblocksStoredLocation> {
    return this.calls.onStream(
      "streamMiniblocksStoredLocation",
      streamId,
      options,
      async (call) => (await streamFacts(this.#store, call)).location,
    );
  }

  /** See {@linkcode StreamReader.debugReadStreamData}. */
  debugReadStreamData(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamDataResult> {
    return this.calls.onStream(
      "debugReadStreamData",
      streamId,
      options,
      (call) => debugReadData(this.#store, call),
    );
  }

  /** See {@linkcode StreamReader.debugReadStreamStatistics}. */
  debugReadStreamStatistics(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamStatisticsResult> {
    return this.calls.onStream(
      "debugReadStreamStatistics",
      streamId,
      options,
      (call) => debugReadStatistics(this.#store, call),
    );
  }

  /** See {@linkcode StreamReader.getStreams}. */
  getStreams(options: GetStreamsOptions = {}): Promise<StreamId[]> {
    return this.calls.run("getStreams", options, () => {
      checkGetStreams(options);
      return listStreams(this.#store, options);
    });
  }

  /** See {@linkcode StreamReader.getStreamsNumber}. */
  getStreamsNumber(options: OperationOptions = {}): Promise<number> {
    return this.calls.run(
      "getStreamsNumber",
      options,
      () => countAllStreams(this.#store, options),
    );
  }

  /** See {@linkcode PostgresStreamReader.totalMiniblockDataSizeInDB}. */
  totalMiniblockDataSizeInDB(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint> {
    return this.calls.onStream(
      "totalMiniblockDataSizeInDB",
      streamId,
      options,
      (call) => dataSizeInDatabase(this.#store, call),
    );
  }

  /** See {@linkcode PostgresStreamReader.health}. */
  health(): StorageHealth {
    return this.#parts.telemetry.health();
  }

  /** All metrics at this moment; see {@linkcode prometheusText}. */
  metrics(): MetricFamily[] {
    return this.#parts.telemetry.read();
  }

  /** See {@linkcode StreamReader.close}. */
  close(): Promise<void> {
    this.calls.refuse();
    this.#closing ??= this.#parts.close();
    return this.#closing;
  }

  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
