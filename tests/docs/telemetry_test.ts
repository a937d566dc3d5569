/**
 * docs/observability.md lists exactly the metrics, spans and log events of the
 * code's tables, and the code uses every entry of the tables.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { logEvents } from "../../src/telemetry/log_events.ts";
import {
  attributes,
  type MetricDefinition,
  metrics,
  spans,
} from "../../src/telemetry/names.ts";
import { prometheusName } from "../../src/telemetry/prometheus.ts";
import { root } from "../support/root.ts";
import { assertGenerated } from "../support/docs/generated_sections.ts";

const page = "docs/observability.md";

const code = (text: string) => `\`${text}\``;
const list = (names: readonly string[]) => names.map(code).join(", ");

/** The sentence that lists attributes, if there are any. */
const by = (attributes: readonly string[]) =>
  attributes.length === 0 ? "" : ` By ${list(attributes)}.`;

describe("docs/observability.md", () => {
  it("lists every metric", () => {
    assertGenerated(
      page,
      "metrics",
      Object.values<MetricDefinition>(metrics).map((metric) => ({
        name: metric.name,
        kind: `${metric.kind}, ${code(metric.unit)}`,
        text: `${metric.description}.${by(metric.attributes)} In Prometheus ` +
          `${code(prometheusName(metric))}.`,
      })),
    );
  });

  it("lists every span and its events", () => {
    assertGenerated(
      page,
      "spans",
      Object.values(spans).flatMap((span) => [
        {
          name: span.name,
          kind: span.kind,
          text: `${span.description}.${by(span.attributes)}`,
        },
        ...Object.values(span.events).map((event) => ({
          name: event.name,
          kind: "event",
          text: `${event.description}.${by(event.attributes)}`,
        })),
      ]),
    );
  });

  it("lists every log event", () => {
    assertGenerated(
      page,
      "log events",
      Object.entries(logEvents).map(([name, event]) => ({
        name,
        kind: event.level,
        text: `${event.meaning}.`,
      })),
    );
  });
});

describe("The tables of telemetry", () => {
  const src = join(root, "src");
  const sources = readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((file) =>
      file.endsWith(".ts") && !/(names|log_events)\.ts$/.test(file)
    )
    .map((file) => readFileSync(join(src, file), "utf8")).join("\n");

  it("have no log event that the code never logs", () => {
    for (const name of Object.keys(logEvents)) {
      assert.ok(sources.includes(`"${name}"`), name);
    }
  });

  it("have no metric and no attribute that the code never uses", () => {
    for (const key of Object.keys(metrics)) {
      assert.ok(new RegExp(`metrics\\.${key}\\b`).test(sources), key);
    }
    for (const key of Object.keys(attributes)) {
      assert.ok(new RegExp(`attributes\\.${key}\\b`).test(sources), key);
    }
  });

  it("give one prefix to every name that is not a convention's", () => {
    const conventions = /^(db|error|network|server)\./;
    const names = [
      ...Object.values(metrics).map(({ name }) => name),
      ...Object.values(attributes),
    ];
    for (const name of names) {
      assert.ok(conventions.test(name) || name.startsWith("stream_storage."));
    }
    assert.equal(new Set(names).size, names.length);
  });
});
