import type { OperationOptions } from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { StreamReader } from "../storage/stream_reader.ts";
import type { StorageHealth } from "../telemetry/health.ts";
import type { MetricFamily } from "../telemetry/registry.ts";

/**
 * A reader of streams in PostgreSQL, as `openStreamReader` opens it.
 *
 * Its operations are those of {@linkcode StreamReader}, and one more.
 */
export interface PostgresStreamReader extends StreamReader {
  /** The schema that holds the streams. */
  readonly schema: string;
  /** Partitions per kind of table, as the first installation has fixed them. */
  readonly partitions: number;
  /**
   * The bytes of the stream's blocks that are in the database, without
   * snapshots; 0 once the blocks are in object storage.
   *
   * Errors: `NOT_FOUND` for an unknown stream.
   */
  totalMiniblockDataSizeInDB(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint>;
  /** How the reader is doing, as far as it knows; see `healthHandler`. */
  health(): StorageHealth;
  /** All current metrics, also without OpenTelemetry; see `prometheusText`. */
  metrics(): MetricFamily[];
}
