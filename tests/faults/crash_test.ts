/**
 * Short runs of `deno task crash` with a real server: acknowledged writes outlive
 * the death of the server, and of the process that wrote them. The checker and
 * the ledger that decide this are tested with damage and false results.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crashServer } from "../../scripts/crash/crash_server.ts";
import { crashWriter } from "../../scripts/crash/crash_writer.ts";
import { BrokenPromise, Ledger } from "../../scripts/crash/ledger.ts";
import type { Operation, State } from "../../scripts/crash/operation.ts";
import { newReport } from "../../scripts/crash/run.ts";
import { StoreUnderLoad } from "../../scripts/crash/store_under_load.ts";
import { dropSchema } from "../../src/database/migrations/mod.ts";
import { partitionSuffixes } from "../../src/database/migrations/plan.ts";
import { Catalog, type StreamTables } from "../../src/postgres/catalog.ts";
import { parseStreamId } from "../../src/storage/stream_id.ts";
import { testDatabaseUrl, uniqueName } from "../support/database.ts";
import { testSession } from "../support/sessions.ts";

const seed = String(Date.now());

describe("An acknowledged write", () => {
  it("is kept when the server is killed under load", async () => {
    const report = await crashServer({
      victim: "server",
      kills: 4,
      seed,
      streams: 12,
    });
    assert.equal(report.kills, 4);
    assert.ok(report.checks.rounds >= 1);
    assert.ok(report.calls.acknowledged >= 20);
    assert.ok(report.checks.rows > 0);
  });

  it("is kept when the writer is killed, taken over from or frozen", async () => {
    const report = await crashWriter({
      victim: "writer",
      kills: 5,
      seed,
      streams: 12,
    });
    assert.equal(report.kills, 5);
    assert.equal(report.checks.rounds, 5);
    assert.deepEqual(report.takeovers, { fromAlive: 1, fromFrozen: 1 });
    assert.ok(report.calls.acknowledged >= 8);
  });

  it("is found lost if the server acknowledges before it has stored it", async () => {
    await assert.rejects(
      crashServer({
        victim: "server",
        kills: 5,
        seed,
        streams: 12,
        settings: {
          synchronous_commit: "off",
          wal_writer_delay: "10000ms",
          wal_writer_flush_after: "1GB",
        },
      }),
      BrokenPromise,
    );
  });
});

/** Damage that the checker must find. The last one ends the store. */
const damages: Record<string, (t: StreamTables, owners: string) => string> = {
  "a lost event": ({ minipools }) =>
    `DELETE FROM ${minipools} AS event WHERE slot_num >= 0 AND slot_num =
       (SELECT max(slot_num) FROM ${minipools} AS other
        WHERE other.stream_id = event.stream_id)`,
  "a doubled event": ({ minipools }) =>
    `INSERT INTO ${minipools} SELECT DISTINCT ON (stream_id) stream_id,
       generation, slot_num + 1, envelope FROM ${minipools}
       WHERE slot_num >= 0 ORDER BY stream_id, slot_num DESC`,
  "a flipped bit": ({ miniblocks }) =>
    `UPDATE ${miniblocks} SET blockdata = set_bit(blockdata,
       length(blockdata) * 8 - 1, 1 - get_bit(blockdata,
       length(blockdata) * 8 - 1))`,
  "another stream's block": ({ miniblocks }) =>
    `UPDATE ${miniblocks} AS block SET blockdata = other.blockdata
       FROM ${miniblocks} AS other WHERE other.stream_id <> block.stream_id`,
  "a lost stream": ({ streams, miniblocks, minipools, candidates }) =>
    [streams, miniblocks, minipools, candidates]
      .map((table) => `DELETE FROM ${table}`).join("; "),
  "a stream that nobody wrote": ({ streams }) =>
    `INSERT INTO ${streams} (stream_id, latest_snapshot_miniblock)
       VALUES ('${"20".padEnd(64, "f")}', 0)
       ON CONFLICT DO NOTHING`,
  "a second owner": (_, owners) =>
    `INSERT INTO ${owners} (uuid, storage_connection_time, info)
       VALUES ('other', now(), '')`,
};

describe("The checker of crash runs", () => {
  it("finds what is lost, doubled, changed or added", async () => {
    await using session = await testSession();
    const url = await testDatabaseUrl();
    const schema = uniqueName("crash");
    await using _schema = {
      [Symbol.asyncDispose]: () => dropSchema(session, schema),
    };
    await using store = await StoreUnderLoad.open({
      url,
      schema,
      seed,
      streams: 12,
    });
    store.resume();
    await store.account.more(200);
    const { checks } = newReport("server", seed);
    await store.check(checks);
    const catalog = new Catalog(schema, store.ground.partitions);
    const parts = partitionSuffixes(catalog.partitions)
      .map((suffix) => catalog.tablesAt(suffix));
    const owners = catalog.table("singlenodekey");
    const tables = [
      catalog.table("es"),
      ...parts.flatMap((t) => [t.miniblocks, t.minipools, t.candidates]),
    ];
    const each = (sql: (table: string, copy: string) => string) =>
      session.script(
        tables.map((table, i) => sql(table, `copy_${i}`)).join("; "),
      );
    await each((table, copy) => `CREATE TEMP TABLE ${copy} AS TABLE ${table}`);
    for (const [name, damage] of Object.entries(damages)) {
      // At least one partition has something to damage.
      const scope = name === "a second owner" ? parts.slice(0, 1) : parts;
      for (const t of scope) await session.script(damage(t, owners));
      await assert.rejects(store.check(checks), BrokenPromise, name);
      await each((table, copy) =>
        `TRUNCATE ${table}; INSERT INTO ${table} TABLE ${copy}`
      );
      if (name !== "a second owner") await store.check(checks);
    }
  });
});

describe("The ledger of crash runs", () => {
  const stream = parseStreamId("20".padEnd(64, "0"));
  const create: Operation = { stream, kind: "create", block: [1, 0] };
  const event = (slot: number, id: number): Operation => ({
    stream,
    kind: "event",
    generation: 1,
    slot,
    id,
  });
  const state = (...events: number[]): State => ({
    ephemeral: false,
    latestSnapshot: 0,
    blocks: [[0, 1, 0]],
    minipool: [1, events],
    candidates: [],
  });

  function ledgerWith(
    ...calls: ["acknowledged" | "failed" | "unknown", Operation][]
  ): Ledger {
    const ledger = new Ledger();
    calls.forEach(([, operation], call) => ledger.begin(call, operation));
    calls.forEach(([outcome], call) => ledger.end(call, outcome));
    return ledger;
  }

  it("accepts an unknown outcome either way", () => {
    for (const events of [[], [2]]) {
      const ledger = ledgerWith(
        ["acknowledged", create],
        ["unknown", event(0, 2)],
      );
      ledger.observe(stream, state(...events));
      assert.deepEqual(ledger.counts.unknown, {
        there: events.length,
        absent: 1 - events.length,
      });
      // From then on the outcome is known.
      assert.throws(
        () => ledger.observe(stream, state(...events.length ? [] : [2])),
        BrokenPromise,
      );
    }
  });

  it("finds that an acknowledged write is missing", () => {
    const ledger = ledgerWith(
      ["acknowledged", create],
      ["acknowledged", event(0, 2)],
    );
    assert.throws(() => ledger.observe(stream, state()), BrokenPromise);
    assert.throws(() => ledger.observe(stream, undefined), BrokenPromise);
  });

  it("finds a failed write that is there, and a write that is there twice", () => {
    const ledger = ledgerWith(["acknowledged", create], [
      "failed",
      event(0, 2),
    ]);
    assert.throws(() => ledger.observe(stream, state(2)), BrokenPromise);
    const twice = ledgerWith(
      ["acknowledged", create],
      ["unknown", event(0, 2)],
    );
    assert.throws(() => twice.observe(stream, state(2, 2)), BrokenPromise);
  });

  it("compares a late result with what it has observed", () => {
    const ledger = new Ledger();
    ledger.begin(1, create);
    ledger.abandon();
    ledger.observe(stream, undefined);
    ledger.end(1, "unknown");
    ledger.end(1, "failed");
    assert.throws(() => ledger.end(1, "acknowledged"), BrokenPromise);
  });
});
