import {
  checkGetStreams,
  checkOptions,
  checkReadMiniblocks,
  checkStreamId,
} from "../storage/arguments.ts";
import { canceled, closed } from "../storage/contract_errors.ts";
import { isStreamStorageError, StreamStorageError } from "../storage/errors.ts";
import type {
  GetStreamsOptions,
  MiniblockDescriptor,
  OperationOptions,
  ReadMiniblocksOptions,
} from "../storage/model.ts";
import { addOperations } from "../storage/operation_methods.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { StreamStorage } from "../storage/stream_storage.ts";
import type { StorageHealth } from "../telemetry/health.ts";
import { listStreams } from "./memory_lifecycle.ts";
import { memoryOperations } from "./memory_operations.ts";
import { readPage } from "./memory_reads.ts";
import {
  cloneStream,
  type MemoryStream,
  MemoryStreams,
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

/** Every operation; the class spells out only those on no stream, or on pages. */
export interface MemoryStreamStorage extends StreamStorage {}

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
  readonly #streams: MemoryStreams;
  #closed = false;
  /** When it was opened, or closed. */
  #since = new Date();

  static {
    plantMemoryStream = (storage, streamId, rows) => {
      storage.#streams.set(streamId, cloneStream(newStream(rows)));
    };
    addOperations<MemoryStreamStorage, MemoryStreams, StreamId, unknown>(
      MemoryStreamStorage.prototype,
      ["reads", "writes", "creates"],
      memoryOperations,
      (self, name, streamId, options, body) =>
        self.#run(name, options, (streams) => {
          checkStreamId(streamId);
          return body(streams, streamId);
        }),
    );
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
    this.#streams = new MemoryStreams(partitions);
  }

  /** An open store with the same content, which then changes independently. */
  clone(): MemoryStreamStorage {
    const clone = new MemoryStreamStorage(this.#streams);
    for (const [streamId, stream] of this.#streams) {
      clone.#streams.set(streamId, cloneStream(stream));
    }
    return clone;
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
      const first = from;
      const { miniblocks } = await this.#run(name, options, (streams) => {
        checkStreamId(streamId);
        checkReadMiniblocks(first, toExclusive, options);
        return readPage(streams, streamId, first, toExclusive, options, page);
      });
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

  /** See {@linkcode StreamStorage.getStreams}. */
  getStreams(options: GetStreamsOptions = {}): Promise<StreamId[]> {
    return this.#run("getStreams", options, (streams) => {
      checkGetStreams(options);
      return listStreams(streams, options);
    });
  }

  /** See {@linkcode StreamStorage.getStreamsNumber}. */
  getStreamsNumber(options?: OperationOptions): Promise<number> {
    return this.#run("getStreamsNumber", options, (streams) => streams.size);
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
