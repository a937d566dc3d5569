import { ownershipReleased } from "../database/fence_errors.ts";
import type {
  TransactionRecord,
  TransactionRing,
} from "../database/transaction_ring.ts";
import {
  checkGenesis,
  checkRange,
  checkReinitialize,
  checkTrimStream,
  checkWriteArchiveMiniblocks,
  checkWriteCandidate,
  checkWriteEphemeralMiniblock,
  checkWriteEvent,
  checkWriteMiniblocks,
  checkWritePrecedingMiniblocks,
} from "../storage/arguments.ts";
import type {
  MiniblockDescriptor,
  NewMinipool,
  OperationOptions,
  PreviousMinipool,
} from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { Workers } from "./background.ts";
import type { StreamMaintenance } from "./maintenance.ts";
import { createArchiveStream, writeArchive } from "./operations/archive.ts";
import { writeCandidate } from "./operations/candidates.ts";
import { createStream } from "./operations/create_stream.ts";
import { debugDelete } from "./operations/debug_delete.ts";
import { deleteStream } from "./operations/delete_stream.ts";
import {
  createEphemeralStream,
  normalizeEphemeral,
  writeEphemeral,
} from "./operations/ephemeral.ts";
import { reinitialize, writePreceding } from "./operations/rebuild.ts";
import { trimStream } from "./operations/trim_stream.ts";
import { writeEvent } from "./operations/write_event.ts";
import { writeMiniblocks } from "./operations/write_miniblocks.ts";
import type { PostgresStreamStorage } from "./postgres_stream_storage.ts";
import { type ReaderParts, StreamReaderFacade } from "./reader_facade.ts";
import type { Store, StreamCall } from "./store.ts";

/** What a {@linkcode StreamStorageFacade} is made of; see assemble_store.ts. */
export interface StorageParts extends ReaderParts {
  instanceId: string;
  store: Store;
  workers: Workers;
  ring: TransactionRing;
  /** Gives ownership up and ends what writes; called once. */
  release(): Promise<void>;
}

/** The reader's half, and what changes streams. */
export class StreamStorageFacade extends StreamReaderFacade
  implements PostgresStreamStorage {
  /** This process among the owners of the schema. */
  readonly instanceId: string;
  readonly #parts: StorageParts;
  readonly #store: Store;
  #releasing: Promise<void> | undefined;

  constructor(parts: StorageParts) {
    super(parts);
    this.instanceId = parts.instanceId;
    this.#parts = parts;
    this.#store = parts.store;
  }

  /** See {@linkcode PostgresStreamStorage.signal}. */
  get signal(): AbortSignal {
    return this.#store.ownership.signal;
  }

  /** See {@linkcode PostgresStreamStorage.maintenance}. */
  get maintenance(): StreamMaintenance {
    return this.#parts.workers.maintenance;
  }

  /** See {@linkcode PostgresStreamStorage.releaseOwnership}. */
  releaseOwnership(): Promise<void> {
    this.#releasing ??= this.#parts.release();
    return this.#releasing;
  }

  /** See {@linkcode StreamStorage.createStreamStorage}. */
  createStreamStorage(
    streamId: StreamId,
    genesis: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#change(
      "createStreamStorage",
      streamId,
      options,
      (call) => {
        checkGenesis(genesis);
        return createStream(this.#store, call, genesis);
      },
    );
  }

  /** See {@linkcode StreamStorage.createEphemeralStreamStorage}. */
  createEphemeralStreamStorage(
    streamId: StreamId,
    genesis: MiniblockDescriptor,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#change(
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
    return this.#change(
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
    return this.#change(
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
    return this.#change(
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
    return this.#change("writeEvent", streamId, options, (call) => {
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
    return this.#change("writeMiniblocks", streamId, options, (call) => {
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
    return this.#change(
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
    return this.#change(
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
    return this.#change(
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
    return this.#change(
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
    return this.#change(
      "writeMiniblockCandidate",
      streamId,
      options,
      (call) => {
        checkWriteCandidate(miniblock);
        return writeCandidate(this.#store, call, miniblock);
      },
    );
  }

  /** See {@linkcode StreamStorage.trimStream}. */
  trimStream(
    streamId: StreamId,
    trimToMbExclusive: bigint,
    nullifySnapshotMbs: bigint[],
    options?: OperationOptions,
  ): Promise<void> {
    return this.#change("trimStream", streamId, options, (call) => {
      checkTrimStream(trimToMbExclusive, nullifySnapshotMbs);
      return trimStream(
        this.#store,
        call,
        trimToMbExclusive,
        nullifySnapshotMbs,
      );
    });
  }

  /** See {@linkcode StreamStorage.debugDeleteMiniblocks}. */
  debugDeleteMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
    options?: OperationOptions,
  ): Promise<void> {
    return this.#change(
      "debugDeleteMiniblocks",
      streamId,
      options,
      (call) => {
        checkRange(fromInclusive, toExclusive);
        return debugDelete(this.#store, call, fromInclusive, toExclusive);
      },
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

  /** A call that changes a stream, as only an owner may. */
  #change<T>(
    name: string,
    streamId: StreamId,
    options: OperationOptions | undefined,
    body: (call: StreamCall) => Promise<T>,
  ): Promise<T> {
    return this.calls.onStream(name, streamId, options, (call) => {
      if (this.#releasing !== undefined) throw ownershipReleased();
      return body(call);
    });
  }
}
