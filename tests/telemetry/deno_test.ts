/**
 * Deno's built-in OpenTelemetry: scripts/observe.ts runs as a Deno process, also
 * when Bun runs this file, and exports to a receiver here. Everything that the
 * tables name arrives.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import {
  attributes,
  type MetricDefinition,
  metrics,
} from "../../src/telemetry/names.ts";
import { prometheusName } from "../../src/telemetry/prometheus.ts";
import { testDatabaseUrl } from "../support/database.ts";
import {
  attributeOf,
  type OtlpMetric,
  pointsOf,
  startOtlpReceiver,
} from "../support/telemetry/otlp_receiver.ts";
import { loginOf } from "../support/login/login.ts";
import { parsePrometheus } from "../support/telemetry/prometheus_parser.ts";
import { until } from "../support/until.ts";

const script = fileURLToPath(
  new URL("../../scripts/observe.ts", import.meta.url),
);

/** The script causes no retry, and uses no object storage. */
const unused: readonly MetricDefinition[] = [
  metrics.transactionRetries,
  metrics.objectStorageDuration,
  metrics.objectStorageFailures,
  metrics.mediaMoved,
  metrics.mediaWaiting,
];
const expected = Object.values<MetricDefinition>(metrics)
  .filter((metric) => !unused.includes(metric));

const spanKindClient = 3;
const statusError = 2;

describe("Deno's own OpenTelemetry", () => {
  it("exports metrics, spans and log events as the tables describe them", async () => {
    await using receiver = await startOtlpReceiver();
    const deno = "Deno" in globalThis ? process.execPath : "deno";
    const login = loginOf(await testDatabaseUrl());
    const args = ["run", "-A", "--no-check", script, "--url", login.url];
    const child = spawn(deno, args, {
      env: {
        ...process.env,
        ...login.env,
        OTEL_DENO: "true",
        OTEL_SERVICE_NAME: "towns-node",
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_METRIC_EXPORT_INTERVAL: "200",
        OTEL_BSP_SCHEDULE_DELAY: "200",
        OTEL_BLRP_SCHEDULE_DELAY: "200",
      },
      stdio: ["pipe", "pipe", "inherit"],
      timeout: 60_000,
    });
    const exit = once(child, "exit");
    let endpoint = "";
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => endpoint ||= /http:\S+$/.exec(line)?.[0] ?? "");
    const isOver = () => child.exitCode !== null;
    const isThere = ({ name }: MetricDefinition) => receiver.metrics.has(name);
    await until(() => isOver() || (endpoint !== "" && expected.every(isThere)));
    assert.ok(!isOver(), "Expected the script to run until its input ends");
    const scrape = await (await fetch(endpoint)).text();
    child.stdin.end();
    assert.deepEqual(await exit, [0, null]);

    for (const definition of expected) {
      checkMetric(definition, receiver.metrics.get(definition.name)!);
    }
    const calls = receiver.spans.filter(({ kind }) => kind === spanKindClient);
    const of = (operation: string) =>
      calls.filter((span) =>
        attributeOf(span, attributes.operation) === operation
      );
    const [read] = of("readStreamFromLastSnapshot");
    assert.equal(attributeOf(read!, attributes.system), "postgresql");
    assert.match(read!.name, /^readStreamFromLastSnapshot test_/);
    const failed = of("writeEvent").find(({ status }) =>
      status.code === statusError
    );
    assert.equal(
      attributeOf(failed!, attributes.errorType),
      "DB_OPERATION_FAILURE",
    );
    const owned = receiver.logs.filter(({ body }) =>
      body.stringValue?.includes('"code":"ownership_taken"')
    );
    assert.equal(owned.length, 1);

    const families = parsePrometheus(scrape);
    for (const definition of expected) {
      const name = prometheusName(definition);
      assert.ok(families.has(name), name);
    }
  });
});

function checkMetric(definition: MetricDefinition, metric: OtlpMetric): void {
  const { name, unit, kind, buckets } = definition;
  assert.equal(metric.unit, unit, name);
  const points = pointsOf(metric);
  assert.ok(points.length > 0, name);
  for (const point of points) {
    assert.equal(attributeOf(point, attributes.system), "postgresql", name);
    if (kind !== "histogram") continue;
    assert.deepEqual(point.explicitBounds, buckets, name);
    assert.ok(Number(point.count) > 0, name);
  }
  if (kind === "counter") assert.equal(metric.sum?.isMonotonic, true, name);
  if (definition !== metrics.operationDuration) return;
  const writes = points.find((point) =>
    attributeOf(point, attributes.operation) === "writeEvent" &&
    attributeOf(point, attributes.errorType) === undefined
  );
  assert.ok(Number(writes?.count) >= 20, "20 writes");
}
