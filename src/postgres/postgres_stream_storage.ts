import type { StreamStorage } from "../storage/stream_storage.ts";
import type { TransactionRecord } from "../database/transaction_ring.ts";
import type { StreamMaintenance } from "./maintenance.ts";
import type { PostgresStreamReader } from "./postgres_stream_reader.ts";

/**
 * Streams in PostgreSQL, as `openStreamStorage` opens them.
 *
 * It writes by the methods of {@linkcode StreamStorage}, reads by those of
 * {@linkcode StreamReader}, and has what a {@linkcode PostgresStreamReader} has.
 */
export interface PostgresStreamStorage
  extends StreamStorage, PostgresStreamReader {
  /** This process among the owners of the schema. */
  readonly instanceId: string;
  /**
   * Aborts when this instance must stop because another one owns the schema
   * now; the reason is the `RESOURCE_EXHAUSTED` error with which every call
   * rejects from then on.
   */
  readonly signal: AbortSignal;
  /**
   * Gives ownership up without closing, so that another instance can take over
   * at once: writes under way end, the workers stop, our row goes and the lock is
   * free. From then on this instance only reads, like a reader; what writes rejects
   * with `FAILED_PRECONDITION` (`ownership_released`), `maintenance` is closed. It
   * can't be had back; `close` is still needed.
   */
  releaseOwnership(): Promise<void>;
  /** The work of the background, called for. */
  readonly maintenance: StreamMaintenance;
  /** Remembers recent transactions from now on, for debugging. */
  enableTxTracker(): void;
  /** Stops remembering, and forgets. */
  disableTxTracker(): void;
  /** The recent transactions, oldest first. */
  dumpTxTracker(): TransactionRecord[];
}
