/**
 * The object that callers get for a store. It makes its methods from the table of
 * operations, and passes each call to the function of the same name.
 */
import { ownershipReleased } from "../database/fence_errors.ts";
import type {
  TransactionRecord,
  TransactionRing,
} from "../database/transaction_ring.ts";
import {
  addOperations,
  type Implementations,
  type WriteName,
} from "../storage/operation_methods.ts";
import type { StreamStorage } from "../storage/stream_storage.ts";
import type { Workers } from "./background.ts";
import type { StreamMaintenance } from "./maintenance.ts";
import * as archive from "./operations/archive.ts";
import * as candidates from "./operations/candidates.ts";
import * as creation from "./operations/create_stream.ts";
import * as debug from "./operations/debug_delete.ts";
import * as deletion from "./operations/delete_stream.ts";
import * as ephemeral from "./operations/ephemeral.ts";
import * as rebuild from "./operations/rebuild.ts";
import * as trimming from "./operations/trim_stream.ts";
import * as event from "./operations/write_event.ts";
import * as miniblocks from "./operations/write_miniblocks.ts";
import type { PostgresStreamStorage } from "./postgres_stream_storage.ts";
import { type ReaderParts, StreamReaderFacade } from "./reader_facade.ts";
import type { Store, StreamCall } from "./store.ts";

/** The operations that write, from these files by their names. */
const writes: Implementations<WriteName, Store, StreamCall> = {
  ...archive,
  ...candidates,
  ...creation,
  ...debug,
  ...deletion,
  ...ephemeral,
  ...event,
  ...miniblocks,
  ...rebuild,
  ...trimming,
};

/** What a {@linkcode StreamStorageFacade} is made of; see assemble_store.ts. */
export interface StorageParts extends ReaderParts {
  instanceId: string;
  /** Aborts when the schema is lost. */
  signal: AbortSignal;
  store: Store;
  workers: Workers;
  ring: TransactionRing;
  /** Gives ownership up and ends everything that writes; called once. */
  release(): Promise<void>;
}

/** The operations that {@linkcode StreamStorageFacade} adds. */
export interface StreamStorageFacade extends Pick<StreamStorage, WriteName> {}

/** Adds the operations that change streams, as only an owner may. */
export class StreamStorageFacade extends StreamReaderFacade
  implements PostgresStreamStorage {
  /** This process among the owners of the schema. */
  readonly instanceId: string;
  readonly #parts: StorageParts;
  readonly #store: Store;
  #releasing: Promise<void> | undefined;

  static {
    addOperations<StreamStorageFacade, Store, StreamCall, Promise<unknown>>(
      StreamStorageFacade.prototype,
      ["writes", "creates"],
      writes,
      (self, name, streamId, options, body) =>
        self.calls.onStream(
          name,
          streamId,
          options,
          self.#store,
          (store, call) => {
            if (self.#releasing !== undefined) throw ownershipReleased();
            return body(store, call);
          },
        ),
    );
  }

  constructor(parts: StorageParts) {
    super(parts);
    this.instanceId = parts.instanceId;
    this.#parts = parts;
    this.#store = parts.store;
  }

  /** See {@linkcode PostgresStreamStorage.signal}. */
  get signal(): AbortSignal {
    return this.#parts.signal;
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
}
