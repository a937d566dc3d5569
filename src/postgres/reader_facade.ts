import { checkGetStreams, checkReadMiniblocks } from "../storage/arguments.ts";
import type {
  GetStreamsOptions,
  MiniblockDescriptor,
  OperationOptions,
  ReadMiniblocksOptions,
} from "../storage/model.ts";
import {
  addOperations,
  type Implementations,
  type ReadName,
} from "../storage/operation_methods.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { StreamReader } from "../storage/stream_reader.ts";
import type { StorageHealth } from "../telemetry/health.ts";
import type { MetricFamily } from "../telemetry/registry.ts";
import type { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import type { CallRunner } from "./call_runner.ts";
import * as debug from "./operations/debug.ts";
import { countAllStreams, listStreams } from "./operations/list_streams.ts";
import * as numbers from "./operations/miniblock_numbers.ts";
import * as candidates from "./operations/read_candidates.ts";
import * as ephemeral from "./operations/read_ephemeral.ts";
import * as miniblocks from "./operations/read_miniblocks.ts";
import * as stream from "./operations/read_stream.ts";
import * as facts from "./operations/stream_facts.ts";
import type { PostgresStreamReader } from "./postgres_stream_reader.ts";
import type { ReadStore, StreamCall } from "./store.ts";

/** The operations that read one stream, from these files by their names. */
const reads: Implementations<ReadName, ReadStore, StreamCall> = {
  ...candidates,
  ...debug,
  ...ephemeral,
  ...facts,
  ...miniblocks,
  ...numbers,
  ...stream,
};

/** What a {@linkcode StreamReaderFacade} is made of; see open_reader.ts. */
export interface ReaderParts {
  schema: string;
  /** For callers' reads, which wait for a locked table until their deadline. */
  reader: ReadStore;
  calls: CallRunner;
  telemetry: StoreTelemetry;
  /** Ends calls in progress and closes everything; called once, at the end. */
  close(): Promise<void>;
}

/** The operations that {@linkcode StreamReaderFacade} does not spell out. */
export interface StreamReaderFacade extends Pick<StreamReader, ReadName> {}

/**
 * Checks the arguments of every call, passes it to its operation, and names the
 * operation in what it throws.
 */
export class StreamReaderFacade implements PostgresStreamReader {
  /** The schema that is read. */
  readonly schema: string;
  protected readonly calls: CallRunner;
  readonly #parts: ReaderParts;
  readonly #store: ReadStore;
  #closing: Promise<void> | undefined;

  static {
    addOperations<StreamReaderFacade, ReadStore, StreamCall, Promise<unknown>>(
      StreamReaderFacade.prototype,
      ["reads"],
      reads,
      (self, name, streamId, options, body) =>
        self.calls.onStream(name, streamId, options, self.#store, body),
    );
  }

  constructor(parts: ReaderParts) {
    this.schema = parts.schema;
    this.calls = parts.calls;
    this.#parts = parts;
    this.#store = parts.reader;
  }

  /** Partitions per kind of table, as the first installation has fixed them. */
  get partitions(): number {
    return this.#store.catalog.partitions;
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
      return miniblocks.streamMiniblocks(this.#store, call, {
        from: fromInclusive,
        to: toExclusive,
        omitSnapshot: options?.omitSnapshot ?? false,
      });
    });
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
      this.#store,
      facts.dataSizeInDatabase,
    );
  }

  /** See {@linkcode PostgresStreamReader.health}. */
  health(): StorageHealth {
    return this.#parts.telemetry.health();
  }

  /** All current metrics; see {@linkcode prometheusText}. */
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
