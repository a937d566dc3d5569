import type { StreamStorage } from "../storage/stream_storage.ts";
import type { TransactionRecord } from "../database/transaction_ring.ts";
import type { StreamMaintenance } from "./maintenance.ts";
import type { PostgresStreamReader } from "./postgres_stream_reader.ts";

/**
 * Streams in PostgreSQL, as `openStreamStorage` opens them.
 *
 * Writes by the methods of {@linkcode StreamStorage}, reads by those of
 * {@linkcode StreamReader}, and has the members of
 * {@linkcode PostgresStreamReader}.
 */
export interface PostgresStreamStorage
  extends StreamStorage, PostgresStreamReader {
  /** The name of this process among the owners of the schema. */
  readonly instanceId: string;
  /**
   * Aborts when this instance must stop because another one owns the schema
   * now. The reason is the `RESOURCE_EXHAUSTED` error with which every call
   * rejects from then on.
   */
  readonly signal: AbortSignal;
  /**
   * Gives ownership up without closing, so that another instance can take over
   * at once. Writes in flight end, the workers stop, our row is deleted and the
   * lock is released. From then on this instance only reads, like a reader:
   * writes reject with `FAILED_PRECONDITION` (`ownership_released`), and
   * `maintenance` is closed. Ownership can't be taken back. `close` is still
   * needed.
   */
  releaseOwnership(): Promise<void>;
  /** The background work, and calls that run it. */
  readonly maintenance: StreamMaintenance;
  /** Starts to record recent transactions, for debugging. */
  enableTxTracker(): void;
  /** Stops recording, and forgets what was recorded. */
  disableTxTracker(): void;
  /** The recorded transactions, oldest first. */
  dumpTxTracker(): TransactionRecord[];
}
