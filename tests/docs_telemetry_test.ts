/** The README's tables of metrics, spans and log events are those in force. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { logEvents } from "../src/telemetry/log_events.ts";
import {
  attributes,
  type MetricDefinition,
  metrics,
  spans,
} from "../src/telemetry/names.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");

/** The body of the table in the section with this title. */
function tableOf(title: string): string[][] {
  const section = readme.split(`\n### ${title}\n`)[1]?.split(/\n##/)[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("|"))
    .map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()));
  return rows.slice(2);
}

const code = (text: string) => `\`${text}\``;
const list = (names: readonly string[]) => names.map(code).join(", ");

describe("The README", () => {
  it("has every metric", () => {
    const rows = Object.values<MetricDefinition>(metrics).map((metric) => [
      code(metric.name),
      metric.kind,
      code(metric.unit),
      list(metric.attributes),
      metric.description,
    ]);
    assert.deepEqual(tableOf("Metrics"), rows);
  });

  it("has every span and its events", () => {
    const rows = Object.values(spans).flatMap((span) => [
      [code(span.name), span.kind, list(span.attributes), span.description],
      ...Object.values(span.events).map((event) => [
        code(event.name),
        "event",
        list(event.attributes),
        event.description,
      ]),
    ]);
    assert.deepEqual(tableOf("Spans"), rows);
  });

  it("has every log event", () => {
    const rows = Object.entries(logEvents).map(([name, event]) => [
      code(name),
      event.level,
      event.meaning,
    ]);
    assert.deepEqual(tableOf("Log events"), rows);
  });
});

describe("The tables", () => {
  const src = join(root, "src");
  const sources = readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((file) =>
      file.endsWith(".ts") && !/(names|log_events)\.ts$/.test(file)
    )
    .map((file) => readFileSync(join(src, file), "utf8")).join("\n");

  it("have no log event that nothing tells", () => {
    for (const name of Object.keys(logEvents)) {
      assert.ok(sources.includes(`"${name}"`), name);
    }
  });

  it("have no metric that nothing records, and no attribute without use", () => {
    for (const key of Object.keys(metrics)) {
      assert.match(sources, new RegExp(`metrics\\.${key}\\b`));
    }
    for (const key of Object.keys(attributes)) {
      assert.match(sources, new RegExp(`attributes\\.${key}\\b`));
    }
  });

  it("name what is not a convention below one prefix", () => {
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
