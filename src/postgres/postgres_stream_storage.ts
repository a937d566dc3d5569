import type { StreamStorage } from "../storage/stream_storage.ts";
import type { StreamMaintenance } from "./maintenance.ts";
import type { MetricFamily } from "../telemetry/registry.ts";
import type { TransactionRecord } from "../database/transaction_ring.ts";

/** Streams in PostgreSQL, as `openStreamStorage` opens them. */
export interface PostgresStreamStorage extends StreamStorage {
  /** The schema that holds the store. */
  readonly schema: string;
  /** This process among the owners of the schema. */
  readonly instanceId: string;
  /** Partitions per kind of table, as the first installation fixed it. */
  readonly partitions: number;
  /**
   * Aborts when this instance must stop because another one owns the schema
   * now; the reason is the `RESOURCE_EXHAUSTED` error with which every call
   * rejects from then on.
   */
  readonly signal: AbortSignal;
  /** The work of the background, called for. */
  readonly maintenance: StreamMaintenance;
  /** Remembers recent transactions from now on, for debugging. */
  enableTxTracker(): void;
  /** Stops remembering, and forgets. */
  disableTxTracker(): void;
  /** The recent transactions, oldest first. */
  dumpTxTracker(): TransactionRecord[];
  /**
   * All metrics at this moment, with or without an OpenTelemetry SDK; see
   * `prometheusText`.
   */
  metrics(): MetricFamily[];
}
