/**
 * What a store reports about itself: the tables of metrics, spans and log
 * events, an endpoint for Prometheus that needs no OpenTelemetry SDK, and one
 * for health probes.
 * @example Metrics for Prometheus.
 * ```ts
 * import { prometheusText } from "@towns/stream-storage/telemetry";
 *
 * console.log(prometheusText(storage));
 * ```
 *
 * @module
 */
export type {
  DatabaseState,
  HealthSource,
  HealthState,
  QueueState,
  StorageHealth,
} from "./health.ts";
export { healthHandler } from "./health_handler.ts";
export type { HistogramValue } from "./instruments.ts";
export {
  type LogCode,
  type LogEvent,
  logEvents,
  type Logger,
  type LogLevel,
} from "./log_events.ts";
export {
  attributes,
  type MetricDefinition,
  type MetricKind,
  metrics,
  spans,
} from "./names.ts";
export type { OwnershipState } from "./ownership_watch.ts";
export {
  type MetricsSource,
  prometheusContentType,
  prometheusHandler,
  prometheusText,
} from "./prometheus.ts";
export type { MetricFamily, MetricSample } from "./registry.ts";
