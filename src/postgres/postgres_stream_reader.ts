import type { StreamReader } from "../storage/stream_reader.ts";
import type { MetricFamily } from "../telemetry/registry.ts";

/** Streams in PostgreSQL to be read, as `openStreamReader` opens them. */
export interface PostgresStreamReader extends StreamReader {
  /** The schema that holds the streams. */
  readonly schema: string;
  /** Partitions per kind of table, as the first installation fixed it. */
  readonly partitions: number;
  /**
   * All metrics at this moment, with or without an OpenTelemetry SDK; see
   * `prometheusText`.
   */
  metrics(): MetricFamily[];
}
