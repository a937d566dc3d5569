/** Receives what an OpenTelemetry SDK exports by OTLP over HTTP, as JSON. */
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

/** An attribute's value; OTLP has one field for each type. */
interface OtlpAttribute {
  key: string;
  value: { stringValue?: string; intValue?: string | number };
}

/** A number, or a histogram. */
export interface OtlpPoint {
  attributes: OtlpAttribute[];
  asInt?: string | number;
  asDouble?: number;
  count?: string | number;
  explicitBounds?: number[];
}

/** A metric. */
export interface OtlpMetric {
  name: string;
  unit: string;
  sum?: { dataPoints: OtlpPoint[]; isMonotonic?: boolean };
  gauge?: { dataPoints: OtlpPoint[] };
  histogram?: { dataPoints: OtlpPoint[] };
}

/** A span. */
export interface OtlpSpan {
  name: string;
  kind: number;
  attributes: OtlpAttribute[];
  status: { code?: number };
}

/** A line of the log. */
export interface OtlpLog {
  body: { stringValue?: string };
}

/** A running receiver, and everything that it has received. */
export interface OtlpReceiver extends AsyncDisposable {
  readonly url: string;
  /** The last version of each metric, by name. */
  readonly metrics: Map<string, OtlpMetric>;
  readonly spans: OtlpSpan[];
  readonly logs: OtlpLog[];
}

/** Starts a receiver on a free port of the loopback address. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const metrics = new Map<string, OtlpMetric>();
  const spans: OtlpSpan[] = [];
  const logs: OtlpLog[] = [];
  const server = createServer(async (request, response) => {
    const body = JSON.parse(await textOf(request));
    for (const { scopeMetrics } of body.resourceMetrics ?? []) {
      for (const { metrics: some } of scopeMetrics) {
        for (const metric of some) metrics.set(metric.name, metric);
      }
    }
    for (const { scopeSpans } of body.resourceSpans ?? []) {
      for (const { spans: some } of scopeSpans) spans.push(...some);
    }
    for (const { scopeLogs } of body.resourceLogs ?? []) {
      for (const { logRecords } of scopeLogs) logs.push(...logRecords);
    }
    response.setHeader("content-type", "application/json").end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    metrics,
    spans,
    logs,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  request.setEncoding("utf8");
  for await (const chunk of request) text += chunk;
  return text;
}

/** The points of a metric of any kind. */
export function pointsOf(metric: OtlpMetric): OtlpPoint[] {
  return (metric.sum ?? metric.gauge ?? metric.histogram)?.dataPoints ?? [];
}

/** An attribute as text. */
export function attributeOf(
  { attributes }: { attributes: OtlpAttribute[] },
  key: string,
): string | undefined {
  const value = attributes.find((attribute) => attribute.key === key)?.value;
  const text = value?.stringValue ?? value?.intValue;
  return text === undefined ? undefined : String(text);
}
