import type { Pool } from "../database/pool.ts";
import type {
  TransactionRecord,
  TransactionRing,
} from "../database/transaction_ring.ts";
import {
  checkCandidateCount,
  checkGenesis,
  checkGetStreams,
  checkOptions,
  checkRange,
  checkReadCandidate,
  checkReadMiniblocks,
  checkReadStream,
  checkReinitialize,
  checkStreamId,
  checkTrimStream,
  checkWriteArchiveMiniblocks,
  checkWriteCandidate,
  checkWriteEphemeralMiniblock,
  checkWriteEvent,
  checkWriteMiniblocks,
  checkWritePrecedingMiniblocks,
} from "../storage/arguments.ts";
import { atMost } from "../storage/at_most.ts";
import { canceled, closed } from "../storage/contract_errors.ts";
import { isStreamStorageError } from "../storage/errors.ts";
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
import { activeContext, inSpan } from "../telemetry/operations.ts";
import type { MetricFamily } from "../telemetry/registry.ts";
import type { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import type { Workers } from "./background.ts";
import type { StreamMaintenance } from "./maintenance.ts";
import { Intake } from "./intake.ts";
import { createArchiveStream, writeArchive } from "./operations/archive.ts";
import {
  countCandidatesAt,
  readCandidate,
  writeCandidate,
} from "./operations/candidates.ts";
import { createStream } from "./operations/create_stream.ts";
import {
  debugDelete,
  debugReadData,
  debugReadStatistics,
} from "./operations/debug.ts";
import { deleteStream } from "./operations/delete_stream.ts";
import {
  createEphemeralStream,
  normalizeEphemeral,
  readEphemeralNumbers,
  writeEphemeral,
} from "./operations/ephemeral.ts";
import { countAllStreams, listStreams } from "./operations/list_streams.ts";
import {
  lastMiniblockNumber,
  miniblockRanges,
} from "./operations/miniblock_numbers.ts";
import {
  readMiniblocks,
  streamMiniblocks,
} from "./operations/read_miniblocks.ts";
import { readStream } from "./operations/read_stream.ts";
import { reinitialize, writePreceding } from "./operations/rebuild.ts";
import { maxArchivedNumber, streamFacts } from "./operations/stream_facts.ts";
import { trimStream } from "./operations/trim_stream.ts";
import { writeEvent } from "./operations/write_event.ts";
import { writeMiniblocks } from "./operations/write_miniblocks.ts";
import type { LockedPartitions } from "./locked_partitions.ts";
import type { PostgresStreamStorage } from "./postgres_stream_storage.ts";
import type { Store, StreamCall } from "./store.ts";

/** What a {@linkcode StreamStorageFacade} is made of; see open.ts. */
export interface FacadeParts {
  schema: string;
  instanceId: string;
  store: Store;
  /** For reads of callers, who wait for a locked table until their deadline. */
  reader: Store;
  locks: LockedPartitions;
  workers: Workers;
  /** Of the calls. */
  pools: readonly Pool[];
  /** Of the workers alone. */
  workerPool: Pool | undefined;
  ring: TransactionRing;
  telemetry: StoreTelemetry;
  /** Milliseconds for one call. */
  operationTimeoutMs: number;
  /** Milliseconds that closing waits for what is under way. */
  closeBudgetMs: number;
  /** Milliseconds of them for the workers, which can be cut off at any time. */
  workersBudgetMs: number;
}

/**
 * Checks the arguments of every call, hands it to its operation, and names the
 * operation in what it throws. As long as the interface: one method each.
 */
export class StreamStorageFacade implements PostgresStreamStorage {
  /** The schema that holds the store. */
  readonly schema: string;
  /** This process among the owners of the schema. */
  readonly instanceId: string;
  readonly #parts: FacadeParts;
  readonly #store: Store;
  readonly #intake = new Intake();
  #closing: Promise<void> | undefined;

  constructor(parts: FacadeParts) {
    this.schema = parts.schema;
    this.instanceId = parts.instanceId;
    this.#parts = parts;
    this.#store = parts.store;
  }

  /** Partitions per kind of table, as the first installation fixed it. */
  get partitions(): number {
    return this.#store.catalog.partitions;
  }

  /** See {@linkcode PostgresStreamStorage.signal}. */
  get signal(): AbortSignal {
    return this.#store.ownership.signal;
  }

  /** See {@linkcode PostgresStreamStorage.maintenance}. */
  get maintenance(): StreamMaintenance {
    return this.#parts.workers.maintenance;
  }

  /** See {@linkcode StreamStorage.createStreamStorage}. */
  createStreamStorage(
    streamId: StreamId,
    genesis: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream("createStreamStorage", streamId, options, (call) => {
      checkGenesis(genesis);
      return createStream(this.#store, call, genesis);
    });
  }

  /** See {@linkcode StreamStorage.createEphemeralStreamStorage}. */
  createEphemeralStreamStorage(
    streamId: StreamId,
    genesis: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream(
      "createEphemeralStreamStorage",
      streamId,
      options,
      (call) => {
        checkGenesis(genesis);
        const block = { ...genesis, number: 0n };
        return createEphemeralStream(this.#store, call, block);
      },
    );
  }

  /** See {@linkcode StreamStorage.createStreamArchiveStorage}. */
  createStreamArchiveStorage(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream(
      "createStreamArchiveStorage",
      streamId,
      options,
      (call) => createArchiveStream(this.#store, call),
    );
  }

  /** See {@linkcode StreamStorage.reinitializeStreamStorage}. */
  reinitializeStreamStorage(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    lastSnapshotMiniblockNum: bigint,
    updateExisting: boolean,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream(
      "reinitializeStreamStorage",
      streamId,
      options,
      (call) => {
        checkReinitialize(miniblocks, lastSnapshotMiniblockNum, updateExisting);
        return reinitialize(this.#store, call, {
          miniblocks,
          snapshot: lastSnapshotMiniblockNum,
          updateExisting,
        });
      },
    );
  }

  /** See {@linkcode StreamStorage.deleteStream}. */
  deleteStream(streamId: StreamId, options?: OperationOptions): Promise<void> {
    return this.#onStream(
      "deleteStream",
      streamId,
      options,
      (call) => deleteStream(this.#store, call),
    );
  }

  /** See {@linkcode StreamStorage.writeEvent}. */
  writeEvent(
    streamId: StreamId,
    minipoolGeneration: bigint,
    minipoolSlot: number,
    envelope: Uint8Array,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream("writeEvent", streamId, options, (call) => {
      checkWriteEvent(minipoolGeneration, minipoolSlot, envelope);
      return writeEvent(this.#store, call, {
        generation: minipoolGeneration,
        slot: minipoolSlot,
        envelope,
      });
    });
  }

  /** See {@linkcode StreamStorage.writeMiniblocks}. */
  writeMiniblocks(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    newMinipool: NewMinipool,
    prevMinipool: PreviousMinipool,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream("writeMiniblocks", streamId, options, (call) => {
      checkWriteMiniblocks(miniblocks, newMinipool, prevMinipool);
      return writeMiniblocks(this.#store, call, {
        miniblocks,
        newMinipool,
        prevMinipool,
      });
    });
  }

  /** See {@linkcode StreamStorage.writePrecedingMiniblocks}. */
  writePrecedingMiniblocks(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream(
      "writePrecedingMiniblocks",
      streamId,
      options,
      (call) => {
        checkWritePrecedingMiniblocks(miniblocks);
        return writePreceding(this.#store, call, miniblocks);
      },
    );
  }

  /** See {@linkcode StreamStorage.writeArchiveMiniblocks}. */
  writeArchiveMiniblocks(
    streamId: StreamId,
    startMiniblockNum: bigint,
    miniblocks: MiniblockDescriptor[],
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream(
      "writeArchiveMiniblocks",
      streamId,
      options,
      (call) => {
        checkWriteArchiveMiniblocks(startMiniblockNum, miniblocks);
        return writeArchive(this.#store, call, startMiniblockNum, miniblocks);
      },
    );
  }

  /** See {@linkcode StreamStorage.writeEphemeralMiniblock}. */
  writeEphemeralMiniblock(
    streamId: StreamId,
    miniblock: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream(
      "writeEphemeralMiniblock",
      streamId,
      options,
      (call) => {
        checkWriteEphemeralMiniblock(miniblock);
        return writeEphemeral(this.#store, call, miniblock);
      },
    );
  }

  /** See {@linkcode StreamStorage.normalizeEphemeralStream}. */
  normalizeEphemeralStream(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<Uint8Array> {
    return this.#onStream(
      "normalizeEphemeralStream",
      streamId,
      options,
      (call) => normalizeEphemeral(this.#store, call),
    );
  }

  /** See {@linkcode StreamStorage.writeMiniblockCandidate}. */
  writeMiniblockCandidate(
    streamId: StreamId,
    miniblock: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream(
      "writeMiniblockCandidate",
      streamId,
      options,
      (call) => {
        checkWriteCandidate(miniblock);
        return writeCandidate(this.#store, call, miniblock);
      },
    );
  }

  /** See {@linkcode StreamStorage.readMiniblockCandidate}. */
  readMiniblockCandidate(
    streamId: StreamId,
    blockHash: Uint8Array,
    blockNumber: bigint,
    options?: OperationOptions,
  ): Promise<MiniblockDescriptor> {
    return this.#onStream(
      "readMiniblockCandidate",
      streamId,
      options,
      (call) => {
        checkReadCandidate(blockHash, blockNumber);
        return readCandidate(this.#parts.reader, call, blockHash, blockNumber);
      },
    );
  }

  /** See {@linkcode StreamStorage.getMiniblockCandidateCount}. */
  getMiniblockCandidateCount(
    streamId: StreamId,
    miniblockNumber: bigint,
    options?: OperationOptions,
  ): Promise<number> {
    return this.#onStream(
      "getMiniblockCandidateCount",
      streamId,
      options,
      (call) => {
        checkCandidateCount(miniblockNumber);
        return countCandidatesAt(this.#parts.reader, call, miniblockNumber);
      },
    );
  }

  /** See {@linkcode StreamStorage.readStreamFromLastSnapshot}. */
  readStreamFromLastSnapshot(
    streamId: StreamId,
    numPrecedingMiniblocks: number,
    options?: OperationOptions,
  ): Promise<ReadStreamFromLastSnapshotResult> {
    return this.#onStream(
      "readStreamFromLastSnapshot",
      streamId,
      options,
      (call) => {
        checkReadStream(numPrecedingMiniblocks);
        return readStream(this.#parts.reader, call, numPrecedingMiniblocks);
      },
    );
  }

  /** See {@linkcode StreamStorage.readMiniblocks}. */
  readMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: ReadMiniblocksOptions,
  ): Promise<ReadMiniblocksResult> {
    return this.#onStream("readMiniblocks", streamId, options, (call) => {
      checkReadMiniblocks(fromInclusive, toExclusive, options);
      return readMiniblocks(this.#parts.reader, call, {
        from: fromInclusive,
        to: toExclusive,
        omitSnapshot: options?.omitSnapshot ?? false,
      });
    });
  }

  /** See {@linkcode StreamStorage.streamMiniblocks}. */
  streamMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: ReadMiniblocksOptions,
  ): AsyncGenerator<MiniblockDescriptor, void, undefined> {
    const operation = this.#parts.telemetry.operations.of("streamMiniblocks");
    return operation.iterate(
      this.#iterate(streamId, fromInclusive, toExclusive, options),
      streamId,
    );
  }

  /** See {@linkcode StreamStorage.getLastMiniblockNumber}. */
  getLastMiniblockNumber(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint> {
    return this.#onStream(
      "getLastMiniblockNumber",
      streamId,
      options,
      (call) => lastMiniblockNumber(this.#parts.reader, call),
    );
  }

  /** See {@linkcode StreamStorage.getMiniblockNumberRanges}. */
  getMiniblockNumberRanges(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<MiniblockRange[]> {
    return this.#onStream(
      "getMiniblockNumberRanges",
      streamId,
      options,
      (call) => miniblockRanges(this.#parts.reader, call),
    );
  }

  /** See {@linkcode StreamStorage.readEphemeralMiniblockNums}. */
  readEphemeralMiniblockNums(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint[]> {
    return this.#onStream(
      "readEphemeralMiniblockNums",
      streamId,
      options,
      (call) => readEphemeralNumbers(this.#parts.reader, call),
    );
  }

  /** See {@linkcode StreamStorage.getMaxArchivedMiniblockNumber}. */
  getMaxArchivedMiniblockNumber(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint> {
    return this.#onStream(
      "getMaxArchivedMiniblockNumber",
      streamId,
      options,
      (call) => maxArchivedNumber(this.#parts.reader, call),
    );
  }

  /** See {@linkcode StreamStorage.isStreamEphemeral}. */
  isStreamEphemeral(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<boolean> {
    return this.#onStream(
      "isStreamEphemeral",
      streamId,
      options,
      async (call) => (await streamFacts(this.#parts.reader, call)).ephemeral,
    );
  }

  /** See {@linkcode StreamStorage.streamMiniblocksStoredLocation}. */
  streamMiniblocksStoredLocation(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<MiniblocksStoredLocation> {
    return this.#onStream(
      "streamMiniblocksStoredLocation",
      streamId,
      options,
      async (call) => (await streamFacts(this.#parts.reader, call)).location,
    );
  }

  /** See {@linkcode StreamStorage.trimStream}. */
  trimStream(
    streamId: StreamId,
    trimToMbExclusive: bigint,
    nullifySnapshotMbs: bigint[],
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream("trimStream", streamId, options, (call) => {
      checkTrimStream(trimToMbExclusive, nullifySnapshotMbs);
      return trimStream(
        this.#store,
        call,
        trimToMbExclusive,
        nullifySnapshotMbs,
      );
    });
  }

  /** See {@linkcode StreamStorage.debugReadStreamData}. */
  debugReadStreamData(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamDataResult> {
    return this.#onStream(
      "debugReadStreamData",
      streamId,
      options,
      (call) => debugReadData(this.#parts.reader, call),
    );
  }

  /** See {@linkcode StreamStorage.debugReadStreamStatistics}. */
  debugReadStreamStatistics(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<DebugReadStreamStatisticsResult> {
    return this.#onStream(
      "debugReadStreamStatistics",
      streamId,
      options,
      (call) => debugReadStatistics(this.#parts.reader, call),
    );
  }

  /** See {@linkcode StreamStorage.debugDeleteMiniblocks}. */
  debugDeleteMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#onStream(
      "debugDeleteMiniblocks",
      streamId,
      options,
      (call) => {
        checkRange(fromInclusive, toExclusive);
        return debugDelete(this.#store, call, fromInclusive, toExclusive);
      },
    );
  }

  /** See {@linkcode StreamStorage.getStreams}. */
  getStreams(options: GetStreamsOptions = {}): Promise<StreamId[]> {
    return this.#call("getStreams", options, () => {
      checkGetStreams(options);
      return listStreams(this.#store, options);
    });
  }

  /** See {@linkcode StreamStorage.getStreamsNumber}. */
  getStreamsNumber(options: OperationOptions = {}): Promise<number> {
    return this.#call(
      "getStreamsNumber",
      options,
      () => countAllStreams(this.#store, options),
    );
  }

  /** Remembers recent transactions from now on, for debugging. */
  enableTxTracker(): void {
    this.#parts.ring.enabled = true;
  }

  /** Stops remembering, and forgets. */
  disableTxTracker(): void {
    this.#parts.ring.enabled = false;
    this.#parts.ring.clear();
  }

  /** The recent transactions: name, tags, event, age; oldest first. */
  dumpTxTracker(): TransactionRecord[] {
    return this.#parts.ring.dump();
  }

  /** All metrics at this moment; see {@linkcode prometheusText}. */
  metrics(): MetricFamily[] {
    return this.#parts.telemetry.read();
  }

  /** See {@linkcode StreamStorage.close}. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { pools, workers, workerPool, telemetry } = this.#parts;
    const { closeBudgetMs, workersBudgetMs } = this.#parts;
    const started = performance.now();
    const left = (budgetMs = closeBudgetMs) =>
      Math.max(0, budgetMs - (performance.now() - started));
    try {
      const workersStopped = workers.stop();
      await this.#store.writes.close(closeBudgetMs);
      await atMost(left(workersBudgetMs), workersStopped);
      this.#parts.locks.close();
      telemetry.closing();
      await Promise.all([
        workerPool?.close(left(workersBudgetMs)),
        ...pools.map((pool) => pool.close(left())),
      ]);
      await workersStopped;
      await this.#store.ownership.release(Math.max(left(), 1000));
    } finally {
      telemetry.close();
    }
  }

  async *#iterate(
    streamId: StreamId,
    from: bigint,
    to: bigint,
    options: ReadMiniblocksOptions | undefined,
  ): AsyncGenerator<MiniblockDescriptor, void, undefined> {
    const name = "streamMiniblocks";
    try {
      const call = this.#checked(name, streamId, options);
      checkReadMiniblocks(from, to, options);
      const omitSnapshot = options?.omitSnapshot ?? false;
      const read = { from, to, omitSnapshot };
      yield* streamMiniblocks(this.#parts.reader, call, read);
    } catch (error) {
      throw named(error, name, options?.signal);
    }
  }

  #onStream<T>(
    name: string,
    streamId: StreamId,
    options: OperationOptions | undefined,
    body: (call: StreamCall) => Promise<T>,
  ): Promise<T> {
    return this.#call(
      name,
      options,
      (since) => body(this.#checked(name, streamId, options, since)),
      streamId,
    );
  }

  #call<T>(
    name: string,
    options: OperationOptions | undefined,
    body: (since: number) => Promise<T>,
    streamId?: StreamId,
  ): Promise<T> {
    const since = performance.now();
    return this.#intake.pass(() =>
      this.#run(name, options, body, streamId, since)
    );
  }

  async #run<T>(
    name: string,
    options: OperationOptions | undefined,
    body: (since: number) => Promise<T>,
    streamId: StreamId | undefined,
    since: number,
  ): Promise<T> {
    const operation = this.#parts.telemetry.operations.of(name);
    const span = operation.startSpan(streamId);
    try {
      this.#checkCallable(options);
      const result = await inSpan(span, () => body(since));
      operation.succeeded(since, span);
      return result;
    } catch (error) {
      const told = named(error, name, options?.signal);
      operation.failed(since, span, told);
      throw told;
    }
  }

  #checked(
    name: string,
    streamId: StreamId,
    options: OperationOptions | undefined,
    submittedAt = performance.now(),
  ): StreamCall {
    this.#checkCallable(options);
    checkStreamId(streamId);
    return {
      name,
      streamId,
      signal: options?.signal,
      submittedAt,
      deadline: submittedAt + this.#parts.operationTimeoutMs,
      context: activeContext(),
    };
  }

  #checkCallable(options: OperationOptions | undefined): void {
    if (this.#closing !== undefined) throw closed();
    if (this.signal.aborted) throw this.signal.reason;
    checkOptions(options);
    if (options?.signal?.aborted) throw canceled(options.signal.reason);
  }
}

function named(error: unknown, name: string, signal?: AbortSignal): unknown {
  // Waiting in the write queue ends with the signal's own reason.
  if (signal?.aborted && error === signal.reason) {
    return canceled(error).withOperation(name);
  }
  return isStreamStorageError(error) ? error.withOperation(name) : error;
}
