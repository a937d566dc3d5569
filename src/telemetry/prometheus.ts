/**
 * Metrics in Prometheus' text format 0.0.4, without an SDK. Names follow the
 * rules of OpenTelemetry for Prometheus: underscores for dots, the unit and
 * `_total` behind.
 */

import type { HistogramValue } from "./instruments.ts";
import type { MetricDefinition } from "./names.ts";
import type { MetricFamily, MetricSample } from "./registry.ts";

/** Whatever has metrics: a `PostgresStreamStorage`. */
export interface MetricsSource {
  /** All metrics at this moment. */
  metrics(): MetricFamily[];
}

/** The content type of {@linkcode prometheusText}. */
export const prometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

/**
 * The metrics of one or several stores, as Prometheus scrapes them. Stores are
 * told apart by database and schema, so leave a closed one out once its schema
 * is open again.
 *
 * @example
 * ```ts
 * import { prometheusText } from "@towns/stream-storage/telemetry";
 *
 * console.log(prometheusText(storage));
 * ```
 */
export function prometheusText(...sources: MetricsSource[]): string {
  const all = new Map<MetricDefinition, MetricSample[]>();
  for (const { definition, samples } of sources.flatMap((s) => s.metrics())) {
    all.set(definition, [...all.get(definition) ?? [], ...samples]);
  }
  return Array.from(
    all,
    ([definition, samples]) => familyText(definition, samples),
  ).join("");
}

/**
 * Answers scrapes; for `Deno.serve`, `Bun.serve` and whatever else calls a
 * function with a `Request`. `GET` and `HEAD` of `/metrics` only; anything else
 * is 404 or 405.
 *
 * @example
 * ```ts
 * import { prometheusHandler } from "@towns/stream-storage/telemetry";
 *
 * Deno.serve({ port: 9464 }, prometheusHandler(storage));
 * ```
 */
export function prometheusHandler(
  ...sources: MetricsSource[]
): (request: Request) => Response {
  return ({ method, url }) => {
    if (new URL(url).pathname !== "/metrics") {
      return new Response("Not found\n", { status: 404 });
    }
    if (method !== "GET" && method !== "HEAD") {
      return new Response("Method not allowed\n", {
        status: 405,
        headers: { allow: "GET, HEAD" },
      });
    }
    const text = prometheusText(...sources);
    return new Response(method === "HEAD" ? null : text, {
      headers: { "content-type": prometheusContentType },
    });
  };
}

const suffixes: Readonly<Record<string, string>> = {
  s: "_seconds",
  By: "_bytes",
};

/** A metric's name in Prometheus; a histogram's lines add to it. */
export function prometheusName({ name, kind, unit }: MetricDefinition): string {
  const total = kind === "counter" ? "_total" : "";
  return name.replace(/[^a-zA-Z0-9_:]/g, "_") + (suffixes[unit] ?? "") + total;
}

const types = {
  counter: "counter",
  updowncounter: "gauge",
  histogram: "histogram",
} as const;

function familyText(
  definition: MetricDefinition,
  samples: readonly MetricSample[],
): string {
  const name = prometheusName(definition);
  const help = definition.description.replace(/\\/g, "\\\\")
    .replace(/\n/g, "\\n");
  const lines = [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${types[definition.kind]}`,
    ...samples.flatMap(({ attributes, value }) =>
      typeof value === "number"
        ? [`${name}${labels(attributes)} ${value}`]
        : histogramLines(name, attributes, value)
    ),
  ];
  return lines.join("\n") + "\n";
}

function histogramLines(
  name: string,
  attributes: MetricSample["attributes"],
  { bounds, counts, sum }: HistogramValue,
): string[] {
  let below = 0;
  const buckets = counts.map((count, i) => {
    below += count;
    const le = String(bounds[i] ?? "+Inf");
    return `${name}_bucket${labels({ ...attributes, le })} ${below}`;
  });
  return [
    // Of those that are still at 0, most for ever, the last one says all.
    ...(below === 0 ? buckets.slice(-1) : buckets),
    `${name}_sum${labels(attributes)} ${sum}`,
    `${name}_count${labels(attributes)} ${below}`,
  ];
}

function labels(attributes: MetricSample["attributes"]): string {
  const pairs = Object.entries(attributes).map(([name, value]) => {
    const escaped = String(value).replace(/\\/g, "\\\\")
      .replace(/"/g, '\\"').replace(/\n/g, "\\n");
    return `${name.replace(/[^a-zA-Z0-9_]/g, "_")}="${escaped}"`;
  });
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}
