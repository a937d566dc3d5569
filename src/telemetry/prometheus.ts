/**
 * Metrics in Prometheus' text format 0.0.4, without an SDK. Names follow
 * OpenTelemetry's rules for Prometheus: underscores replace dots, and the unit
 * and `_total` are appended.
 */

import type { HistogramValue } from "./instruments.ts";
import { attributes, type MetricDefinition } from "./names.ts";
import type { MetricFamily, MetricSample } from "./registry.ts";

/** Anything that has metrics: a `PostgresStreamStorage`. */
export interface MetricsSource {
  /** All metrics at this moment. */
  metrics(): MetricFamily[];
}

/** The content type of {@linkcode prometheusText}. */
export const prometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

/**
 * The metrics of one or several stores, as Prometheus scrapes them. Database
 * and schema distinguish the stores, so leave out a closed one when its schema
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
 * Answers scrapes; for `Deno.serve`, `Bun.serve` and anything else that calls a
 * function with a `Request`. Only `GET` and `HEAD` of `/metrics` are served;
 * other requests get 404 or 405.
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

/** A metric's name in Prometheus; a histogram's lines add suffixes to it. */
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
  const pairs = labelPairs(attributes);
  const line = (suffix: string, value: number, le?: number | string) =>
    `${name}_${suffix}${braced(pairs, le)} ${value}`;
  const all = counts.reduce((below, count) => below + count, 0);
  const lines: string[] = [];
  let below = 0;
  // A histogram that is still at 0, as most stay, needs only its last bucket.
  for (const [i, bound] of all === 0 ? [] : bounds.entries()) {
    below += counts[i]!;
    lines.push(line("bucket", below, bound));
  }
  lines.push(line("bucket", all, "+Inf"), line("sum", sum), line("count", all));
  return lines;
}

function labels(attributes: MetricSample["attributes"]): string {
  return braced(labelPairs(attributes));
}

function labelPairs(attributes: MetricSample["attributes"]): string[] {
  return Object.entries(attributes).map(([name, value]) =>
    `${labelNames.get(name) ?? labelName(name)}="${escaped(String(value))}"`
  );
}

function labelName(attribute: string): string {
  return attribute.replace(/[^a-zA-Z0-9_]/g, "_");
}

/** Label names, computed once: a scrape has thousands of labels. */
const labelNames: ReadonlyMap<string, string> = new Map(
  Object.values(attributes).map((name) => [name, labelName(name)]),
);

function escaped(value: string): string {
  if (!/[\\"\n]/.test(value)) return value;
  return value.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n");
}

function braced(pairs: readonly string[], le?: number | string): string {
  const all = le === undefined ? pairs : [...pairs, `le="${le}"`];
  return all.length === 0 ? "" : `{${all.join(",")}}`;
}
