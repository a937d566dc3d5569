/**
 * Metrics in Prometheus' text format, read back by a strict parser, and the
 * handler that serves them. No SDK is involved.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { metrics } from "../../src/telemetry/names.ts";
import {
  prometheusContentType,
  prometheusHandler,
  prometheusName,
  prometheusText,
} from "../../src/telemetry/prometheus.ts";
import { StoreTelemetry } from "../../src/telemetry/store_telemetry.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { parsePrometheus } from "../support/telemetry/prometheus_parser.ts";
import { serve } from "../support/network/serve.ts";
import { openTestStorage } from "../support/storage.ts";

const data = new Uint8Array([1]);

describe("Prometheus' text", () => {
  it("of a store is well formed and counts its calls", async () => {
    await using test = await openTestStorage();
    const { storage, schema } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, { number: 0n, data, snapshot: data });
    for (let slot = 0; slot < 20; slot++) {
      await storage.writeEvent(id, 1n, slot, data);
    }
    await assert.rejects(storage.writeEvent(id, 1n, 5, data));
    await storage.readStreamFromLastSnapshot(id, 0);
    const families = parsePrometheus(prometheusText(storage));
    const durations = families.get(prometheusName(metrics.operationDuration))!;
    assert.equal(durations.help, metrics.operationDuration.description);
    const counts = durations.samples.filter(({ name, labels }) =>
      name === "db_client_operation_duration_seconds_count" &&
      labels.get("db_operation_name") === "writeEvent"
    );
    assert.deepEqual(
      counts.map(({ labels, value }) => [labels.get("error_type"), value]),
      [[undefined, 20], ["DB_OPERATION_FAILURE", 1]],
    );
    for (const { samples } of families.values()) {
      for (const { labels } of samples) {
        assert.ok(labels.get("db_namespace")?.endsWith(`|${schema}`));
      }
    }
    const owner = families.get("stream_storage_ownership_status")!.samples
      .find(({ labels }) =>
        labels.get("stream_storage_ownership_state") === "owner"
      );
    assert.equal(owner?.value, 1);
  });

  it("has escapes in the values of labels", () => {
    const schema = 'quote " slash \\ line \n end';
    const telemetry = new StoreTelemetry({ database: "d", schema });
    telemetry.batchSizes()(1e6);
    telemetry.batchSizes()(0);
    telemetry.batchSizes()(2);
    const source = { metrics: () => telemetry.read() };
    const text = prometheusText(source);
    telemetry.close();
    const { samples } = parsePrometheus(text).get(
      prometheusName(metrics.queueBatchSize),
    )!;
    assert.equal(samples[0]?.labels.get("db_namespace"), `d|${schema}`);
    assert.deepEqual(
      samples.map(({ value }) => value),
      [1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 1_000_002, 3],
    );
  });

  it("of two stores contains each family once", () => {
    const stores = ["one", "two"].map((schema) => {
      const telemetry = new StoreTelemetry({ database: "d", schema });
      telemetry.close();
      return { metrics: () => telemetry.read() };
    });
    const families = parsePrometheus(prometheusText(...stores));
    const { samples } = families.get("stream_storage_database_available")!;
    assert.deepEqual(
      samples.map(({ labels }) => labels.get("db_namespace")),
      ["d|one", "d|two"],
    );
  });

  it("is served at /metrics", async () => {
    const telemetry = new StoreTelemetry({ database: "d", schema: "s" });
    const source = { metrics: () => telemetry.read() };
    const server = serve(prometheusHandler(source));
    try {
      const scrape = await fetch(`${server.url}/metrics`);
      assert.equal(scrape.status, 200);
      assert.equal(scrape.headers.get("content-type"), prometheusContentType);
      assert.equal(await scrape.text(), prometheusText(source));
      const head = await fetch(`${server.url}/metrics`, { method: "HEAD" });
      assert.equal(head.status, 200);
      assert.equal(await head.text(), "");
      const post = await fetch(`${server.url}/metrics`, { method: "POST" });
      assert.equal(post.status, 405);
      await post.body?.cancel();
      const other = await fetch(`${server.url}/`);
      assert.equal(other.status, 404);
      await other.body?.cancel();
    } finally {
      await server.stop();
      telemetry.close();
    }
  });

  it("is refused by this test's parser if it is malformed", () => {
    const bad: Record<string, string> = {
      "no end": "# HELP a b\n# TYPE a gauge\na 1",
      "no TYPE": "a 1\n",
      "twice": "# HELP a b\n# TYPE a gauge\na 1\na 1\n",
      "escape": '# HELP a b\n# TYPE a gauge\na{l="\\x"} 1\n',
      "line break": '# HELP a b\n# TYPE a gauge\na{l="\n"} 1\n',
      "counter": "# HELP a b\n# TYPE a counter\na 1\n",
      "sinking": "# HELP a b\n# TYPE a histogram\n" +
        'a_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
      "no +Inf": "# HELP a b\n# TYPE a histogram\n" +
        'a_bucket{le="1"} 1\na_sum 1\na_count 1\n',
      "count": "# HELP a b\n# TYPE a histogram\n" +
        'a_bucket{le="+Inf"} 1\na_sum 1\na_count 2\n',
    };
    for (const [name, text] of Object.entries(bad)) {
      assert.throws(() => parsePrometheus(text), Error, name);
    }
  });
});
