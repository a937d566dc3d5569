/**
 * Reading from a real standby: which server a reader chooses, and what recovery,
 * replay lag and a promotion do to a read. A read may be of an earlier state,
 * but always of one state.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { bind, statement } from "../../src/database/statement.ts";
import { openStreamReader } from "../../src/open_stream_reader.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { doctor, watchStore } from "../../src/operator/mod.ts";
import { openReadCore } from "../../src/postgres/open_reader.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { ReadCore } from "../../src/postgres/read_core.ts";
import type { StreamReaderOptions } from "../../src/postgres/reader_options.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  bytes,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { type HostOrder, ReplicatedPair } from "../support/standby.ts";

const schema = "read_standby";
const applicationName = "a reader";

let pair: ReplicatedPair;
let storage: PostgresStreamStorage;

before(async () => {
  pair = await ReplicatedPair.start();
  // Recovery cancels a read that is in its way at once.
  await pair.standby.query(
    "ALTER SYSTEM SET max_standby_streaming_delay = '0'",
  );
  await pair.standby.query("SELECT pg_reload_conf()");
  storage = await openStreamStorage({
    url: pair.primary.url,
    schema,
    partitions: 1,
    startupDelayMs: 0,
    maxConnections: 4,
    workerConcurrency: 0,
  });
  await pair.catchUp();
});

after(async () => {
  await storage?.close();
  await pair?.[Symbol.asyncDispose]();
});

/** Leaves time to find another server, also on a slow machine. */
const patient = { schema, applicationName, operationTimeoutMs: 30_000 };

/** A URL with both hosts that says nothing about which one is wanted. */
function bothHosts(order: HostOrder): string {
  const url = new URL(pair.url(order).replace(/,[^/]*/, ""));
  const [first] = pair.url(order).match(/127[^/]*/)!;
  url.searchParams.delete("target_session_attrs");
  return url.href.replace(url.host, first);
}

const select = (text: string) =>
  bind(statement({ text: `SELECT (${text})::text`, columns: ["text"] }));

/** The value of an expression, in a read like any other. */
async function ask(core: ReadCore, text: string): Promise<string> {
  const [{ rows }] = await core.transactions.read({ name: "ask" }, [
    select(text),
  ]);
  return rows[0]![0];
}

/**
 * Waits until a read sleeps on the standby; returns its pid. A statement that is
 * only active may have no snapshot yet, and would see what is replayed next.
 */
async function sleeping(): Promise<string> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    const [row] = await pair.standby.query(
      `SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'
         AND application_name = '${applicationName}'`,
    );
    if (row !== undefined) return String(row.pid);
  }
  assert.fail("Expected a read that sleeps");
}

/** The number of retries of transactions, by reason. */
function retriesOf({ telemetry }: ReadCore): Record<string, number> {
  const family = telemetry.read().find(({ definition }) =>
    definition.name === "stream_storage.transaction.retries"
  );
  return Object.fromEntries(
    (family?.samples ?? []).filter(({ value }) => Number(value) > 0)
      .map(({ attributes, value }) => [
        String(attributes["error.type"]),
        Number(value),
      ]),
  );
}

describe("A reader with several hosts", () => {
  const cases: [StreamReaderOptions["targetSessionAttrs"], string][] = [
    [undefined, "true true"],
    ["prefer-standby", "true true"],
    ["standby", "true true"],
    ["primary", "false false"],
    ["any", "false true"],
  ];
  for (const [attrs, expected] of cases) {
    it(`reads from the server that is wanted (${attrs ?? "by default"})`, async () => {
      const found = [];
      for (const order of ["primary first", "standby first"] as const) {
        await using core = await openReadCore({
          ...patient,
          url: bothHosts(order),
          ...(attrs && { targetSessionAttrs: attrs }),
        });
        found.push(await ask(core, "pg_catalog.pg_is_in_recovery()"));
      }
      assert.equal(found.join(" "), expected);
    });
  }

  it("follows the URL's target_session_attrs, where read-write is the primary", async () => {
    for (
      const [attrs, expected] of [["standby", "true"], ["read-write", "false"]]
    ) {
      const url = new URL(pair.primary.url);
      url.searchParams.set("target_session_attrs", attrs!);
      const both = url.href.replace(
        url.host,
        `${url.host},127.0.0.1:${pair.standby.port}`,
      );
      await using core = await openReadCore({ ...patient, url: both });
      const found = await ask(core, "pg_catalog.pg_is_in_recovery()");
      assert.equal(found, expected);
    }
  });

  it("accepts a primary if there is no standby, unless it must be one", async () => {
    const { url } = pair.primary;
    await using core = await openReadCore({ ...patient, url });
    const found = await ask(core, "pg_catalog.pg_is_in_recovery()");
    assert.equal(found, "false");
    const only = { ...patient, url, targetSessionAttrs: "standby" } as const;
    await assertFails(openStreamReader(only), {
      code: "UNAVAILABLE",
      operation: "openStreamReader",
    });
  });

  it("may use a standby, but a store may not", async () => {
    const url = `${pair.primary.url}&target_session_attrs=prefer-standby`;
    await assertFails(openStreamStorage({ url, schema }), {
      code: "BAD_CONFIG",
      reason: "bad_options",
    });
  });
});

describe("A read on a standby", () => {
  const url = () => pair.standby.url;
  /** A read of the table that lasts as long as the table `nap` says. */
  const slowly = (table: string) =>
    `SELECT n FROM (SELECT pg_catalog.count(*) AS n FROM ${table}) AS counted,
      pg_catalog.pg_sleep((SELECT seconds FROM public.nap))`;

  /** Sets how long reads last that begin from now on. */
  async function takes(seconds: number): Promise<void> {
    await pair.primary.query(`UPDATE public.nap SET seconds = ${seconds}`);
    await pair.catchUp();
  }

  before(async () => {
    await pair.primary.query(
      "CREATE TABLE public.nap AS SELECT 0::double precision AS seconds",
    );
  });

  beforeEach(() => takes(60));

  it("is retried after a conflict with recovery", async () => {
    await using core = await openReadCore({ ...patient, url: url() });
    const table = core.catalog.table("es");
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    await pair.catchUp();
    const reading = ask(core, slowly(table));
    await sleeping();
    await takes(0);
    // Removes rows that the read can still see.
    await storage.deleteStream(id);
    await pair.primary.query(`VACUUM ${table}`);
    assert.ok(Number(await reading) >= 0);
    assert.ok((retriesOf(core)["40001"] ?? 0) > 0);
  });

  it("is retried if it is cancelled, but not because of its timeout", async () => {
    await using core = await openReadCore({ ...patient, url: url() });
    const reading = ask(core, slowly(core.catalog.table("es")));
    const pid = await sleeping();
    await takes(0);
    await pair.standby.query(`SELECT pg_cancel_backend(${pid})`);
    assert.ok(Number(await reading) >= 0);
    assert.deepEqual(retriesOf(core), { "57014": 1 });
  });

  it("is not retried after its timeout", async () => {
    await using core = await openReadCore({
      ...patient,
      url: url(),
      statementTimeoutMs: 300,
    });
    await assertFails(ask(core, slowly(core.catalog.table("es"))), {
      code: "DEADLINE_EXCEEDED",
      reason: "statement_timeout",
    });
    assert.deepEqual(retriesOf(core), {});
  });

  it("is retried if its session is terminated", async () => {
    await using core = await openReadCore({ ...patient, url: url() });
    const reading = ask(core, slowly(core.catalog.table("es")));
    const pid = await sleeping();
    await takes(0);
    await pair.standby.query(`SELECT pg_terminate_backend(${pid})`);
    assert.ok(Number(await reading) >= 0);
    assert.deepEqual(retriesOf(core), { "57P01": 1 });
  });

  it("returns one earlier state while replay is behind", async () => {
    await using reader = await openStreamReader({ ...patient, url: url() });
    const id = newStreamId("channel");
    await storage.createStreamStorage(id, snapshotBlock(0));
    await storage.writeEvent(id, 1n, 0, bytes("one"));
    await pair.catchUp();
    const before = await reader.readStreamFromLastSnapshot(id, 0);
    await pair.standby.query("SELECT pg_wal_replay_pause()");
    await storage.writeMiniblocks(
      id,
      [snapshotBlock(1)],
      { generation: 2n, envelopes: [bytes("two")] },
      { generation: 1n, size: 1 },
    );
    assert.deepEqual(await reader.readStreamFromLastSnapshot(id, 0), before);
    assert.equal(await reader.getLastMiniblockNumber(id), 0n);
    await pair.standby.query("SELECT pg_wal_replay_resume()");
    await pair.catchUp();
    assert.deepEqual(
      await reader.readStreamFromLastSnapshot(id, 0),
      await storage.readStreamFromLastSnapshot(id, 0),
    );
  });
});

/** Writes a block with an event at a time until `isOver`. */
async function writeOn(id: StreamId, isOver: () => boolean): Promise<void> {
  await storage.createStreamStorage(id, snapshotBlock(0));
  for (let number = 1n; !isOver(); number++) {
    const made = number % 5n === 0n ? snapshotBlock(number) : block(number);
    await storage.writeMiniblocks(
      id,
      [made],
      { generation: number + 1n, envelopes: [bytes(`after ${number}`)] },
      { generation: number, size: number === 1n ? 0 : 1 },
    );
    if (number % 20n === 0n) await storage.trimStream(id, number - 10n, []);
  }
}

describe("The operator's commands on a standby", () => {
  it("show what can be seen there, and say what can't", async () => {
    const { url } = pair.standby;
    const { diagnoses } = await doctor({ url, schema });
    const unseen = diagnoses.filter(({ level }) => level === "unknown");
    assert.deepEqual(unseen.map(({ check }) => check), [
      "notifications",
      "owner",
    ]);
    const ill = diagnoses.filter(({ level }) =>
      level === "warn" || level === "fail"
    );
    // These two come from the settings of the tests' servers.
    assert.deepEqual(ill.map(({ check }) => check), [
      "durability",
      "dead_rows",
    ]);
    let looks = 0;
    for await (const look of watchStore({ url, schema, intervalMs: 100 })) {
      assert.ok(!("lost" in look), JSON.stringify(look));
      assert.equal(look.isStandby, true);
      assert.equal(look.isLocked, undefined);
      assert.ok(look.owner?.name);
      if (++looks === 2) break;
    }
  });
});

describe("Reads while a standby is promoted", () => {
  it("continue, each of one state, and fail for a reader that wants a standby", async () => {
    const reader = await openStreamReader({
      ...patient,
      url: bothHosts("primary first"),
    });
    const bound = await openReadCore({
      ...patient,
      url: pair.standby.url,
      targetSessionAttrs: "standby",
      operationTimeoutMs: 2000,
    });
    const id = newStreamId("channel");
    let isOver = false;
    // Writing ends with the primary.
    const writing = writeOn(id, () => isOver).catch(() => {});
    while (await storage.getLastMiniblockNumber(id).catch(() => 0n) < 10n);
    await pair.catchUp();
    await ask(bound, "1");
    let reads = 0;
    let last = -1n;
    const reading = (async () => {
      while (!isOver) {
        const { miniblocks, minipoolEnvelopes } = await reader
          .readStreamFromLastSnapshot(id, 3);
        const end = miniblocks.at(-1)!.number;
        assert.deepEqual(minipoolEnvelopes, [bytes(`after ${end}`)]);
        assert.ok(end >= last, `${end} after ${last}`);
        last = end;
        reads++;
      }
    })();
    while (reads < 50) await reader.getStreamsNumber();
    await pair.failOver();
    const since = reads;
    while (reads < since + 50) await reader.getStreamsNumber();
    isOver = true;
    await Promise.all([reading, writing]);
    await assert.rejects(
      untilItFails(() => ask(bound, "1")),
      // The last attempt fails, or the deadline comes between two attempts.
      ({ code }) => code === "UNAVAILABLE" || code === "DEADLINE_EXCEEDED",
    );
    await Promise.all([reader.close(), bound.close()]);
  });
});

/** The server reports its promotion only with its next answer. */
async function untilItFails(call: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) await call();
}
