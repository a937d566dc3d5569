/**
 * Metrics of a store on a real server, as an OpenTelemetry SDK collects them and
 * as `storage.metrics()` returns them, compared with the table of metrics.
 */
import { metrics as api } from "@opentelemetry/api";
import {
  DataPointType,
  type Histogram,
  type MetricData,
} from "@opentelemetry/sdk-metrics";
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import {
  attributes,
  type MetricDefinition,
  metrics,
} from "../../src/telemetry/names.ts";
import { loadOpenTelemetry } from "../../src/telemetry/open_telemetry.ts";
import { StoreTelemetry } from "../../src/telemetry/store_telemetry.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { testDatabaseUrl } from "../support/database.ts";
import {
  type InMemoryTelemetry,
  installTelemetry,
} from "../support/telemetry/in_memory_telemetry.ts";
import { startProxy } from "../support/network/proxy.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

const data = new Uint8Array([1, 2, 3]);
const genesis = { number: 0n, data, snapshot: data };

const kinds = new Map([
  [DataPointType.SUM, ["counter", "updowncounter"]],
  [DataPointType.HISTOGRAM, ["histogram"]],
]);
const common: string[] = [
  attributes.system,
  attributes.namespace,
  attributes.serverAddress,
  attributes.serverPort,
];

/** Records every metric of the table once. */
function recordAll(telemetry: StoreTelemetry): void {
  telemetry.watchPool("read", { state: { open: 3, idle: 1, waiting: 2 } }, 5);
  telemetry.watchServer({ version: "18.4", system: "7300" });
  telemetry.counts.record({
    streams: new Map([["space", 3], ["dm", 0]]),
    waiting: new Map([["offload", 2]]),
  });
  telemetry.mediaMoved()(1000);
  const state = { waiting: 1, waitingBytes: 2, busySlots: 3 };
  telemetry.watchQueue({ state }, () => true);
  telemetry.batchSizes()(7);
  telemetry.connections("read").acquired(3);
  telemetry.connections("read").timedOut();
  telemetry.traffic("read").sent.add(11);
  telemetry.operations.of("test").succeeded(performance.now(), undefined);
  const { transactions } = telemetry;
  transactions.attempted("test");
  transactions.retried("test", 2, "40001");
  transactions.ended({
    name: "test",
    mode: "read",
    outcome: "committed",
    since: performance.now(),
  });
  telemetry.workers.record({
    worker: "sweeper",
    outcome: "done",
    milliseconds: 1500,
    report: { done: 3 },
  });
  telemetry.objectStorage()({
    action: "read",
    milliseconds: 20,
    errorType: "timeout",
  });
}

/** The value of the metric's only point with these attributes. */
function pointOf(
  collected: Map<string, MetricData>,
  { name }: MetricDefinition,
  wanted: Record<string, string>,
): number | Histogram | undefined {
  const points = collected.get(name)?.dataPoints ?? [];
  const found = points.filter((point) =>
    Object.entries(wanted).every(([key, value]) =>
      point.attributes[key] === value
    )
  );
  assert.ok(found.length <= 1, `${name} has ${found.length} such points`);
  return found[0]?.value as number | Histogram | undefined;
}

function countOf(...args: Parameters<typeof pointOf>): number {
  return (pointOf(...args) as Histogram | undefined)?.count ?? 0;
}

/** A value from `storage.metrics()`, by some of its attributes. */
function gaugeOf(
  storage: PostgresStreamStorage,
  definition: MetricDefinition,
  wanted: Record<string, string> = {},
): number {
  const family = storage.metrics().find((f) => f.definition === definition);
  const sample = family?.samples.find(({ attributes }) =>
    Object.entries(wanted).every(([key, value]) => attributes[key] === value)
  );
  return sample?.value as number;
}

describe("Metrics through an OpenTelemetry SDK", () => {
  const sdk: InMemoryTelemetry = installTelemetry();
  after(() => sdk[Symbol.asyncDispose]());

  it("all arrive as the table describes them", async () => {
    await loadOpenTelemetry();
    const telemetry = new StoreTelemetry({
      database: "db",
      schema: "every_metric",
      server: { host: "localhost", port: 5432 },
    });
    const closed = telemetry.connect(
      "read",
      () => Promise.resolve({ closed: new Promise<void>(() => {}) }),
      () => assert.fail(),
    );
    await closed;
    recordAll(telemetry);
    const collected = await sdk.collect();
    telemetry.workers.record({
      worker: "sweeper",
      outcome: "done",
      milliseconds: 1,
      report: { done: 2 },
    });
    const later = await sdk.collect();
    telemetry.close();
    assert.equal(pointOf(later, metrics.workerItems, {}), 5);
    for (const definition of Object.values<MetricDefinition>(metrics)) {
      const { name, unit, kind } = definition;
      const metric = collected.get(name);
      assert.ok(metric !== undefined, `${name} did not arrive`);
      assert.equal(metric.descriptor.unit, unit);
      assert.ok(kinds.get(metric.dataPointType)?.includes(kind), name);
      if (metric.dataPointType === DataPointType.SUM) {
        assert.equal(metric.isMonotonic, kind === "counter", name);
      }
      const allowed = [...common, ...definition.attributes];
      for (const { attributes, value } of metric.dataPoints) {
        for (const key of Object.keys(attributes)) {
          assert.ok(allowed.includes(key), `${name} has ${key}`);
        }
        if (metric.dataPointType === DataPointType.HISTOGRAM) {
          const { buckets } = value as Histogram;
          assert.deepEqual(buckets.boundaries, [...definition.buckets!], name);
        }
      }
    }
    assert.equal(countOf(collected, metrics.workerDuration, {}), 1);
    const { sum } = pointOf(collected, metrics.workerDuration, {}) as Histogram;
    assert.equal(sum, 1.5);
    assert.equal(pointOf(collected, metrics.workerItems, {}), 3);
  });

  it("count calls and transactions by name and outcome", async () => {
    await using test = await openTestStorage();
    const { storage, schema } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    for (let slot = 0; slot < 5; slot++) {
      await storage.writeEvent(id, 1n, slot, data);
    }
    await Promise.all(
      Array.from(
        { length: 5 },
        (_, i) => storage.writeEvent(id, 1n, 5 + i, data),
      ),
    );
    await assert.rejects(storage.writeEvent(id, 7n, 0, data));
    await storage.readStreamFromLastSnapshot(id, 0);
    await assert.rejects(storage.getLastMiniblockNumber(newStreamId()));
    await assert.rejects(storage.deleteStream(newStreamId()));
    const collected = await sdk.collect();
    const namespace = [
      ...collected.get(metrics.operationDuration.name)!
        .dataPoints,
    ].map((point) => point.attributes[attributes.namespace])
      .find((name) => String(name).endsWith(`|${schema}`));
    const of = { [attributes.namespace]: String(namespace) };
    const calls = (operation: string, type?: string) => {
      const wanted = {
        ...of,
        [attributes.operation]: operation,
        ...(type === undefined ? {} : { [attributes.errorType]: type }),
      };
      const points = collected.get(metrics.operationDuration.name)!.dataPoints
        .filter(({ attributes: all }) =>
          Object.entries(wanted).every(([k, v]) => all[k] === v) &&
          (type !== undefined || all[attributes.errorType] === undefined)
        );
      assert.equal(points.length, 1, operation);
      return (points[0]!.value as Histogram).count;
    };
    assert.equal(calls("writeEvent"), 10);
    assert.equal(calls("writeEvent", "DB_OPERATION_FAILURE"), 1);
    assert.equal(calls("readStreamFromLastSnapshot"), 1);
    assert.equal(calls("getLastMiniblockNumber", "NOT_FOUND"), 1);
    const transactions = (name: string, outcome: string) =>
      countOf(collected, metrics.transactionDuration, {
        ...of,
        [attributes.transaction]: name,
        [attributes.transactionOutcome]: outcome,
      });
    assert.equal(transactions("readStreamFromLastSnapshot", "committed"), 1);
    assert.equal(transactions("deleteStream", "rejected"), 1);
    const shared = transactions("sharedWrites", "committed");
    assert.ok(shared >= 6 && shared <= 12, `${shared} shared transactions`);
    const batches = pointOf(collected, metrics.queueBatchSize, of) as Histogram;
    assert.equal(batches.count, shared);
    assert.ok(batches.sum! >= 10);
    for (const direction of ["receive", "transmit"]) {
      for (const pool of ["read", "write"]) {
        const bytes = pointOf(collected, metrics.networkIo, {
          ...of,
          [attributes.pool]: pool,
          [attributes.direction]: direction,
        });
        assert.ok((bytes as number) > 100, `${pool} ${direction} ${bytes}`);
      }
    }
    const owner = (state: string) =>
      pointOf(collected, metrics.ownershipStatus, {
        ...of,
        [attributes.ownershipState]: state,
      });
    assert.equal(owner("owner"), 1);
    assert.equal(owner("waiting"), 0);
    assert.equal(owner("stopped"), 0);
  });

  it("rise with the use of the pools and the queue, and fall again", async () => {
    await using test = await openTestStorage();
    const { storage, schema } = test;
    const ids = Array.from({ length: 8 }, newStreamId);
    for (const id of ids) await storage.createStreamStorage(id, genesis);
    const used = {
      [attributes.pool]: "write",
      [attributes.connectionState]: "used",
    };
    await using session = await testSession();
    await session.script(
      `BEGIN; LOCK TABLE "${schema}".singlenodekey IN ACCESS EXCLUSIVE MODE`,
    );
    // Too large for a shared transaction, so each of two slots runs one write.
    const large = new Uint8Array(100_000);
    const block = { number: 1n, data: large, hash: new Uint8Array(32) };
    const writes = ids.map((id) => storage.writeMiniblockCandidate(id, block));
    await until(() => gaugeOf(storage, metrics.queueBusySlots) === 2);
    await until(() => gaugeOf(storage, metrics.connectionCount, used) === 2);
    assert.equal(gaugeOf(storage, metrics.queueWrites), 6);
    assert.ok(gaugeOf(storage, metrics.queueSize) >= 600_000);
    const collected = await sdk.collect();
    const slots = collected.get(metrics.queueBusySlots.name)?.dataPoints ?? [];
    assert.ok(slots.some(({ value }) => value === 2));
    await session.script("ROLLBACK");
    await Promise.all(writes);
    // A transaction slot is freed just after its writes have settled.
    await until(() => gaugeOf(storage, metrics.queueBusySlots) === 0);
    assert.equal(gaugeOf(storage, metrics.queueWrites), 0);
    assert.equal(gaugeOf(storage, metrics.queueSize), 0);
    assert.equal(gaugeOf(storage, metrics.connectionCount, used), 0);
    const idle = { ...used, [attributes.connectionState]: "idle" };
    assert.equal(gaugeOf(storage, metrics.connectionCount, idle), 2);
    const write = { [attributes.pool]: "write" };
    assert.equal(gaugeOf(storage, metrics.connectionLimit, write), 2);
  });

  it("count attempts, and retries by their cause", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({ url: proxy.url });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await storage.getLastMiniblockNumber(id);
    void proxy.cutAt({ side: "backend", nth: 1, when: "before" });
    await storage.getLastMiniblockNumber(id);
    const name = { [attributes.transaction]: "getLastMiniblockNumber" };
    assert.equal(gaugeOf(storage, metrics.transactionAttempts, name), 3);
    const cause = { ...name, [attributes.errorType]: "connection_lost" };
    assert.equal(gaugeOf(storage, metrics.transactionRetries, cause), 1);
  });

  it("of a closed store keep their counts, and lose their gauges", async () => {
    const { storage, schema, ...test } = await openTestStorage();
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await storage.getLastMiniblockNumber(id);
    await test[Symbol.asyncDispose]();
    const collected = await sdk.collect();
    const ours = (definition: MetricDefinition) =>
      collected.get(definition.name)?.dataPoints.filter(({ attributes: all }) =>
        String(all[attributes.namespace]).endsWith(`|${schema}`)
      ) ?? [];
    const attempts = ours(metrics.transactionAttempts).find((point) =>
      point.attributes[attributes.transaction] === "getLastMiniblockNumber"
    );
    assert.equal(attempts?.value, 1);
    const gauges = Object.values<MetricDefinition>(metrics)
      .filter(({ kind }) => kind === "updowncounter");
    for (const gauge of gauges) assert.deepEqual(ours(gauge), [], gauge.name);
    assert.equal(
      gaugeOf(storage, metrics.ownershipStatus, {
        [attributes.ownershipState]: "stopped",
      }),
      1,
    );
  });
});

describe("A store that is closed, or failed to open,", () => {
  it("leaves no callback with OpenTelemetry", async () => {
    const registered = new Set<unknown>();
    const noop = api.getMeterProvider().getMeter("");
    const meter = Object.create(noop, {
      addBatchObservableCallback: {
        value: (callback: unknown) => registered.add(callback),
      },
      removeBatchObservableCallback: {
        value: (callback: unknown) => registered.delete(callback),
      },
    });
    api.setGlobalMeterProvider({ getMeter: () => meter });
    try {
      const test = await openTestStorage();
      assert.equal(registered.size, 1);
      await test[Symbol.asyncDispose]();
      assert.equal(registered.size, 0);
      await using proxy = await startProxy(await testDatabaseUrl());
      proxy.refuse(true);
      await assert.rejects(
        openStreamStorage({ url: proxy.url, schema: "never_opened" }),
        (error) => isStreamStorageError(error, "UNAVAILABLE"),
      );
      assert.equal(registered.size, 0);
    } finally {
      api.disable();
    }
  });
});
