import type { OperationOptions } from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { StreamReader } from "../storage/stream_reader.ts";
import type { StorageHealth } from "../telemetry/health.ts";
import type { MetricFamily } from "../telemetry/registry.ts";

/**
 * Streams in PostgreSQL to be read, as `openStreamReader` opens them.
 *
 * Its operations are those of {@linkcode StreamReader}, and one more.
 */
export interface PostgresStreamReader extends StreamReader {
  /** The schema that holds the streams. */
  readonly schema: string;
  /** Partitions per kind of table, as the first installation fixed it. */
  readonly partitions: number;
  /**
   * The bytes of the stream's blocks that are stored in the database, snapshots
   * not counted; 0 once the blocks are in object storage.
   *
   * Errors: `NOT_FOUND` without such a stream.
   */
  totalMiniblockDataSizeInDB(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<bigint>;
  /** How it is doing, as it knows without asking; see `healthHandler`. */
  health(): StorageHealth;
  /**
   * All metrics at this moment, with or without an OpenTelemetry SDK; see
   * `prometheusText`.
   */
  metrics(): MetricFamily[];
}
