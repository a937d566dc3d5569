/**
 * Series that exist at 0 before their first event, so that a monitor sees the
 * first event as an increase; counts of streams, which take a query; and metrics
 * of the server and of connections. On a real server.
 */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import type {
  PostgresStreamReader,
  PostgresStreamStorage,
  StreamReader,
} from "../../mod.ts";
import type { ObjectStoreAction } from "../../src/media/object_store.ts";
import { openStreamReader } from "../../src/open_stream_reader.ts";
import type { StreamMaintenance } from "../../src/postgres/maintenance.ts";
import type { Store } from "../../src/postgres/store.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { parseStreamId, type StreamId } from "../../src/storage/stream_id.ts";
import type {
  maintenanceCalls,
  objectStorageActions,
  postgresReads,
} from "../../src/telemetry/known_names.ts";
import {
  attributes,
  type MetricDefinition,
  metrics,
} from "../../src/telemetry/names.ts";
import { loadOpenTelemetry } from "../../src/telemetry/open_telemetry.ts";
import { prometheusText } from "../../src/telemetry/prometheus.ts";
import type { MetricFamily } from "../../src/telemetry/registry.ts";
import { Registry } from "../../src/telemetry/registry.ts";
import { StoreTelemetry } from "../../src/telemetry/store_telemetry.ts";
import { StreamCounts } from "../../src/telemetry/stream_counts.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { StreamCounter } from "../../src/workers/stream_counter.ts";
import { installTelemetry } from "../support/telemetry/in_memory_telemetry.ts";
import { parsePrometheus } from "../support/telemetry/prometheus_parser.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

type Same<A, B> = [A] extends [B] ? [B] extends [A] ? true : false : false;
/** The calls that only PostgreSQL's readers have, without those that read no table. */
type PostgresReads = Exclude<
  keyof PostgresStreamReader,
  keyof StreamReader | "schema" | "partitions" | "health" | "metrics"
>;
/** The calls of `maintenance` that have a transaction. */
type Maintains = Exclude<keyof StreamMaintenance, "workers" | "updateTrimming">;

const areRead: Same<typeof postgresReads[number], PostgresReads> = true;
const areMaintained: Same<typeof maintenanceCalls[number], Maintains> = true;
const areActions: Same<typeof objectStorageActions[number], ObjectStoreAction> =
  true;

const data = new Uint8Array([1, 2, 3]);
const genesis = { number: 0n, data };

/** Metrics whose labels can't be known before: SQLSTATEs, and the server. */
const open: ReadonlySet<MetricDefinition> = new Set([
  metrics.transactionRetries,
  metrics.serverInfo,
]);

/** Every series by name and labels, with its value or its number of events. */
function seriesOf(families: MetricFamily[]): Map<string, number> {
  const all = families.flatMap(({ definition, samples }) =>
    samples.map(({ attributes: labels, value }) => {
      const number = typeof value === "number"
        ? value
        : value.counts.reduce((sum, count) => sum + count);
      return [definition, labels, number] as const;
    })
  ).filter(([definition, labels]) =>
    !open.has(definition) &&
    // Failed calls have a counter by code instead.
    (definition !== metrics.operationDuration ||
      labels[attributes.errorType] === undefined)
  );
  return new Map(all.map(([{ name }, labels, number]) => [
    `${name} ${JSON.stringify(labels)}`,
    number,
  ]));
}

/** The value of a metric's sample, by some of its attributes. */
function valueOf(
  source: { metrics(): MetricFamily[] },
  definition: MetricDefinition,
  wanted: Record<string, string> = {},
) {
  const family = source.metrics().find((f) => f.definition === definition);
  return family?.samples.find(({ attributes: labels }) =>
    Object.entries(wanted).every(([key, value]) => labels[key] === value)
  )?.value;
}

const failures: [code: string, call: (of: PostgresStreamStorage) => unknown][] =
  [
    ["NOT_FOUND", (of) => of.getLastMiniblockNumber(newStreamId())],
    ["NOT_FOUND", (of) => of.deleteStream(newStreamId())],
    ["BAD_STREAM_ID", (of) => of.isStreamEphemeral("x" as StreamId)],
    ["CANCELED", (of) => of.getStreams({ signal: AbortSignal.abort() })],
    ["NOT_FOUND", (of) => of.writeEvent(newStreamId(), 1n, 0, data)],
  ];

async function readAll(storage: PostgresStreamReader, id: StreamId) {
  await storage.readStreamFromLastSnapshot(id, 0);
  await storage.debugReadStreamStatistics(id);
  await storage.debugReadStreamData(id);
  await storage.getStreamsNumber();
  await storage.getMiniblockNumberRanges(id);
  for await (const _ of storage.streamMiniblocks(id, 0n, 1n));
}

describe("A series", () => {
  it("exists for the name of every call, as the types prove", () => {
    assert.ok(areRead && areMaintained && areActions);
  });

  it("of a store exists before its first event, whatever the store does", async () => {
    await using test = await openTestStorage();
    const { storage } = test;
    const before = seriesOf(storage.metrics());
    const errors = [...before].filter(([name]) =>
      name.startsWith(metrics.operationErrors.name)
    );
    assert.equal(errors.length, 16);
    assert.ok(errors.every(([, count]) => count === 0));
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await storage.writeEvent(id, 1n, 0, data);
    await readAll(storage, id);
    for (const [code, call] of failures) {
      await assert.rejects(
        Promise.resolve(call(storage)),
        (error) => isStreamStorageError(error) && error.code === code,
      );
    }
    await storage.maintenance.sweepEphemeralStreams();
    await storage.maintenance.trimStreams();
    await storage.trimStream(id, 0n, []);
    await storage.deleteStream(id);
    const later = seriesOf(storage.metrics());
    const unknown = [...later.keys()].filter((name) => !before.has(name));
    assert.deepEqual(unknown, []);
    const ofCode = (code: string) =>
      valueOf(storage, metrics.operationErrors, {
        [attributes.errorType]: code,
      });
    assert.equal(ofCode("NOT_FOUND"), 3);
    assert.equal(ofCode("BAD_STREAM_ID"), 1);
    assert.equal(ofCode("INTERNAL"), 0);
  });

  it("of a reader exists before its first event, and none is about writes", async () => {
    await using test = await openTestStorage();
    const { url, schema } = test;
    const id = newStreamId();
    await test.storage.createStreamStorage(id, genesis);
    await using reader = await openStreamReader({ url, schema });
    const before = seriesOf(reader.metrics());
    await readAll(reader, id);
    const later = seriesOf(reader.metrics());
    const unknown = [...later.keys()].filter((name) => !before.has(name));
    assert.deepEqual(unknown, []);
    const text = prometheusText(reader);
    assert.doesNotMatch(text, /writeEvent|sharedWrites|ownership|write_queue/);
    assert.equal(reader.health().state, "ready");
    const size = await reader.totalMiniblockDataSizeInDB(id);
    assert.equal(size, BigInt(data.length));
  });

  it("of an empty histogram takes three lines of a scrape", async () => {
    await using test = await openTestStorage();
    const text = prometheusText(test.storage);
    const families = parsePrometheus(text);
    const name = "stream_storage_transaction_duration_seconds";
    const unknown = families.get(name)!.samples.filter(({ labels }) =>
      labels.get("stream_storage_transaction_name") === "writeEvent" &&
      labels.get("stream_storage_transaction_outcome") === "unknown"
    );
    assert.deepEqual(unknown.map((sample) => [sample.name, sample.value]), [
      [`${name}_bucket`, 0],
      [`${name}_sum`, 0],
      [`${name}_count`, 0],
    ]);
    assert.ok(text.length < 300_000, `${text.length} bytes`);
  });
});

describe("An OpenTelemetry SDK", () => {
  const sdk = installTelemetry();
  after(() => sdk[Symbol.asyncDispose]());

  it("gets counters at 0 before their first event", async () => {
    await loadOpenTelemetry();
    const telemetry = new StoreTelemetry({ database: "d", schema: "zeros" });
    telemetry.workers.expect("sweeper");
    telemetry.objectStorage();
    const collected = await sdk.collect();
    const points = (definition: MetricDefinition) =>
      collected.get(definition.name)?.dataPoints
        .filter((point) => point.attributes[attributes.namespace] === "d|zeros")
        .map(({ value }) => value);
    assert.deepEqual(points(metrics.operationErrors), Array(16).fill(0));
    assert.deepEqual(points(metrics.workerItems), [0]);
    assert.deepEqual(points(metrics.objectStorageFailures), Array(5).fill(0));
    telemetry.close();
  });
});

describe("The count of streams", () => {
  it("is made by type, after the metrics were read once", async () => {
    await using test = await openTestStorage({ workerConcurrency: 1 });
    const { storage } = test;
    const digits = () => newStreamId().slice(2);
    for (const prefix of ["20", "20", "88"]) {
      const id = parseStreamId(prefix + digits());
      await storage.createStreamStorage(id, genesis);
    }
    const count = (type: string) =>
      valueOf(storage, metrics.streams, { [attributes.streamType]: type });
    await until(() => count("channel") !== undefined);
    assert.deepEqual(["channel", "dm", "space", "unknown"].map(count), [
      2,
      1,
      0,
      0,
    ]);
    assert.equal(valueOf(storage, metrics.mediaWaiting), undefined);
  });

  it("is made only while metrics are read, for a hundredth of the time", async () => {
    const registry = new Registry({});
    const counts = new StreamCounts(registry);
    let woken = 0;
    counts.onAsked(() => woken++);
    let now = 1000;
    let counted = 0;
    const store = {
      catalog: { at: () => "" },
      transactions: {
        read: () => {
          now += 500;
          counted++;
          return Promise.resolve([{ rows: [["10", 7n]] }]);
        },
      },
    } as unknown as Store;
    const clock = { now: () => now, random: () => 0, after: () => () => {} };
    const counter = new StreamCounter(store, counts, clock);
    const { signal } = new AbortController();
    await counter.runOnce(signal);
    assert.equal(counted, 0);
    registry.read();
    assert.equal(woken, 1);
    await counter.runOnce(signal);
    assert.equal(counted, 1);
    registry.read();
    assert.equal(woken, 1);
    now += 49_000;
    await counter.runOnce(signal);
    assert.equal(counted, 1);
    now += 1000;
    await counter.runOnce(signal);
    assert.equal(counted, 2);
    now += 100_000;
    await counter.runOnce(signal);
    assert.equal(counted, 2);
    registry.close();
  });
});

describe("A store's metrics", () => {
  it("name the server, and count the waits for connections", async () => {
    await using test = await openTestStorage();
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await Promise.all(
      Array.from({ length: 50 }, () => storage.getLastMiniblockNumber(id)),
    );
    const read = { [attributes.pool]: "read" };
    const waited = valueOf(storage, metrics.emptyAcquisitions, read) as number;
    assert.ok(waited > 0, `${waited} waited`);
    const info = storage.metrics().find(({ definition }) =>
      definition === metrics.serverInfo
    )!;
    assert.equal(info.samples.length, 1);
    const [{ attributes: labels, value }] = info.samples as [
      MetricFamily["samples"][number],
    ];
    assert.equal(value, 1);
    assert.match(String(labels[attributes.serverVersion]), /^\d+/);
    assert.match(String(labels[attributes.systemId]), /^\d+$/);
  });

  it("count the ends of connections by cause, of which only a loss is logged", async () => {
    const logged: string[] = [];
    await using test = await openTestStorage({
      maxConnections: 8,
      idleTimeoutMs: 20,
      logger: ({ code }) => logged.push(code),
    });
    const { storage } = test;
    const burst = () =>
      Promise.all(
        Array.from({ length: 50 }, () => storage.getStreamsNumber()),
      );
    const ended = (end: string) =>
      valueOf(storage, metrics.connectionsEnded, {
        [attributes.pool]: "read",
        [attributes.connectionEnd]: end,
      }) as number;
    assert.equal(ended("idle"), 0);
    await burst();
    await until(() => ended("idle") > 0);
    assert.equal(ended("lost"), 0);
    assert.ok(!logged.includes("connection_lost"));
    await using session = await testSession();
    await storage.getStreamsNumber();
    await session.script(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid()
          AND query LIKE '%"${test.schema}"."es"%'`,
    );
    await until(() => ended("lost") > 0);
    assert.ok(logged.includes("connection_lost"));
  });

  it("are complemented by the size of a stream's blocks in the database", async () => {
    await using test = await openTestStorage();
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, {
      number: 0n,
      data: new Uint8Array(5000),
      snapshot: data,
    });
    await storage.writeMiniblocks(
      id,
      [{ number: 1n, data }],
      { generation: 2n, envelopes: [] },
      { generation: 1n },
    );
    assert.equal(await storage.totalMiniblockDataSizeInDB(id), 5003n);
    await assert.rejects(
      storage.totalMiniblockDataSizeInDB(newStreamId()),
      (error) => isStreamStorageError(error, "NOT_FOUND"),
    );
  });
});
