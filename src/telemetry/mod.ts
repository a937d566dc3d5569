/**
 * What a store tells about itself: the tables of metrics, spans and log events,
 * and a Prometheus endpoint that needs no OpenTelemetry SDK.
 *
 * @example Metrics for Prometheus.
 * ```ts
 * import { prometheusText } from "@towns/stream-storage/telemetry";
 *
 * console.log(prometheusText(storage));
 * ```
 *
 * @module
 */
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
export {
  type MetricsSource,
  prometheusContentType,
  prometheusHandler,
  prometheusText,
} from "./prometheus.ts";
export type { MetricFamily, MetricSample } from "./registry.ts";
