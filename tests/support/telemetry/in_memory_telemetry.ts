/**
 * An OpenTelemetry SDK that keeps everything in memory. It is installed for
 * the whole process, so a test file must uninstall it: Bun runs all files in
 * one process.
 */
import { context, metrics, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  type DataPoint,
  type Histogram,
  MeterProvider,
  type MetricData,
  MetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";

class PulledReader extends MetricReader {
  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }
}

/** A number, or a histogram. */
type Point = DataPoint<number> | DataPoint<Histogram>;

/** The installed SDK. */
export interface InMemoryTelemetry extends AsyncDisposable {
  /** Every metric by name, collected now. */
  collect(): Promise<Map<string, MetricData>>;
  /** The spans that have ended since the last time. */
  takeSpans(): ReadableSpan[];
}

/** Installs the SDK; stores that are opened from now on use it. */
export function installTelemetry(): InMemoryTelemetry {
  const reader = new PulledReader();
  const meterProvider = new MeterProvider({ readers: [reader] });
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  });
  const contextManager = new AsyncLocalStorageContextManager().enable();
  metrics.setGlobalMeterProvider(meterProvider);
  trace.setGlobalTracerProvider(tracerProvider);
  context.setGlobalContextManager(contextManager);
  return {
    collect: async () => {
      const { resourceMetrics, errors } = await reader.collect();
      if (errors.length > 0) throw errors[0];
      const all = resourceMetrics.scopeMetrics.flatMap((s) => s.metrics);
      return new Map(all.map((metric) => [metric.descriptor.name, metric]));
    },
    takeSpans: () => {
      const spans = exporter.getFinishedSpans();
      exporter.reset();
      return spans;
    },
    [Symbol.asyncDispose]: async () => {
      metrics.disable();
      trace.disable();
      context.disable();
      await meterProvider.shutdown();
      await tracerProvider.shutdown();
    },
  };
}
