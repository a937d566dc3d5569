/**
 * A store behind a real PgBouncer: it works in session mode, and in transaction
 * mode with an ownershipUrl that goes to the server; it refuses what would break.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgError } from "../../src/database/pg_error.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { queryOnce, testDatabaseUrl } from "../support/database.ts";
import {
  type PgBouncer,
  pgBouncerVersion,
  startPgBouncer,
} from "../support/poolers/pgbouncer.ts";
import { terminate, testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";

const data = new Uint8Array([1, 2, 3]);
const genesis = { number: 0n, data, snapshot: data };

/** A store whose transactions go through the pooler. */
async function openBehind(
  pooler: PgBouncer,
  options: Partial<StreamStorageOptions> = {},
): Promise<TestStreamStorage> {
  return await openTestStorage({
    url: pooler.url,
    ownershipUrl: await testDatabaseUrl(),
    maxConnections: 9,
    ...options,
  });
}

/** The server's process ids of the pooler's connections to it. */
async function serverPids(pooler: PgBouncer): Promise<number[]> {
  const rows = await queryOnce(pooler.consoleUrl, "SHOW SERVERS");
  return rows.map(({ remote_pid }) => Number(remote_pid));
}

/** Creates 40 streams and writes to all at once, in order within each. */
async function writeMany(
  { storage }: TestStreamStorage,
  events: number,
): Promise<StreamId[]> {
  const ids = Array.from({ length: 40 }, () => newStreamId());
  await Promise.all(ids.map(async (id, nth) => {
    await storage.createStreamStorage(id, genesis);
    const slots = Array.from({ length: events }, (_, slot) => slot);
    await Promise.all(
      slots.map((slot) =>
        storage.writeEvent(id, 1n, slot, new Uint8Array([nth, slot]))
      ),
    );
  }));
  return ids;
}

async function assertWritten(
  { storage }: TestStreamStorage,
  ids: StreamId[],
  events: number,
): Promise<void> {
  await Promise.all(ids.map(async (id, nth) => {
    const { minipoolEnvelopes } = await storage
      .readStreamFromLastSnapshot(id, 0);
    assert.deepEqual(
      minipoolEnvelopes,
      Array.from({ length: events }, (_, slot) => new Uint8Array([nth, slot])),
    );
  }));
}

async function refusal(options: StreamStorageOptions) {
  try {
    await using _storage = await openStreamStorage(options);
  } catch (error) {
    assert.ok(isStreamStorageError(error));
    return error;
  }
  assert.fail("Expected the store not to open");
}

async function hasSchema(schema: string): Promise<boolean> {
  const rows = await queryOnce(
    await testDatabaseUrl(),
    `SELECT FROM pg_namespace WHERE nspname = '${schema}'`,
  );
  return rows.length > 0;
}

describe("Ownership through PgBouncer", () => {
  it("is refused in transaction mode before anything is written", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl());
    const schema = "pgbouncer_refused";
    const error = await refusal({ url: pooler.url, schema });
    assert.equal(error.code, "BAD_CONFIG");
    assert.equal(error.details.reason, "transaction_pooler");
    assert.equal(error.operation, "openStreamStorage");
    assert.ok(!await hasSchema(schema));
    // The probe has left nothing on a session that other clients get.
    await using session = await testSession({ url: pooler.url });
    assert.deepEqual(
      await session.script("SELECT pg_listening_channels()"),
      [],
    );
  });

  it("is refused if the pooler uses its sessions in turn", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl(), {
      server_round_robin: 1,
    });
    {
      await using first = await testSession({ url: pooler.url });
      await using second = await testSession({ url: pooler.url });
      await using third = await testSession({ url: pooler.url });
      const all = [first, second, third];
      for (const session of all) await session.script("BEGIN");
      for (const session of all) await session.script("COMMIT");
    }
    const error = await refusal({ url: pooler.url, schema: "pgbouncer_turns" });
    assert.equal(error.details.reason, "transaction_pooler");
  });

  it("is refused in transaction mode for ownershipUrl, too", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl());
    const error = await refusal({
      url: await testDatabaseUrl(),
      ownershipUrl: pooler.url,
      schema: "pgbouncer_refused",
    });
    assert.equal(error.details.reason, "transaction_pooler");
  });

  it("works in session mode, and so does a takeover", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl(), {
      pool_mode: "session",
    });
    const options = { url: pooler.url, preparedStatements: false };
    await using test = await openTestStorage(options);
    const { schema } = test;
    await using successor = await openStreamStorage({
      ...options,
      schema,
      startupDelayMs: 0,
    });
    assert.ok(test.storage.signal.aborted);
    assert.equal(await successor.getStreamsNumber(), 0);
  });

  it("is refused if url and ownershipUrl lead to different databases", async () => {
    const url = await testDatabaseUrl();
    await using pooler = await startPgBouncer(url);
    await using test = await openTestStorage();
    const other = new URL(url);
    other.pathname = "/template1";
    const { schema } = test;
    const elsewhere = await testSession({ url: other.href });
    await elsewhere.script(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
    const error = await refusal({
      url: pooler.url,
      ownershipUrl: other.href,
      schema,
      partitions: 1,
    });
    await elsewhere.script(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
    await elsewhere.close();
    assert.equal(error.code, "BAD_CONFIG");
    assert.equal(error.details.reason, "ownership_url_mismatch");
    assert.equal(await test.storage.getStreamsNumber(), 0);
  });
});

describe("Errors in the options for poolers", () => {
  it("name each option that is wrong, and show no password", async () => {
    const error = await refusal({
      url: "postgresql://user:hush@localhost/db",
      ownershipUrl: "mysql://user:hush@localhost/db",
      preparedStatements: true,
      schema: "s",
    });
    assert.deepEqual(
      (error.details.faults as { option: string }[]).map((f) => f.option),
      ["preparedStatements", "ownershipUrl"],
    );
    assert.ok(!JSON.stringify(error).includes("hush"));
    assert.ok(!error.message.includes("hush"));
  });
});

describe("A store behind PgBouncer in transaction mode", () => {
  for (const max_prepared_statements of [0, 100]) {
    const name = `max_prepared_statements = ${max_prepared_statements}`;
    it(`serves many streams over few connections, ${name}`, async (t) => {
      const isKnown = await pgBouncerVersion() >= 121;
      if (max_prepared_statements > 0 && !isKnown) {
        return t.diagnostic("This PgBouncer has no such setting");
      }
      await using pooler = await startPgBouncer(await testDatabaseUrl(), {
        default_pool_size: 3,
        ...(isKnown ? { max_prepared_statements } : {}),
      });
      await using test = await openBehind(pooler);
      await assertWritten(test, await writeMany(test, 10), 10);
      const pids = await serverPids(pooler);
      assert.ok(pids.length <= 3, `${pids.length} connections`);
      const url = await testDatabaseUrl();
      const lasting = await queryOnce(
        url,
        `SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid IN (${pids})`,
      );
      assert.equal(lasting.length, 0);
    });
  }

  it("applies its settings in each transaction, and leaves none behind", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl(), {
      default_pool_size: 1,
    });
    await using test = await openBehind(pooler, {
      isolationLevel: "repeatable read",
      operationTimeoutMs: 4321,
      lockTimeoutMs: 1234,
    });
    await using session = await testSession();
    await session.script(watchSettings(test.schema));
    await test.storage.createStreamStorage(newStreamId(), genesis);
    const [seen] = await session.script(`SELECT * FROM ${test.schema}.seen`);
    assert.deepEqual(seen, [
      "repeatable read",
      "4321ms",
      "1234ms",
      "force_generic_plan",
      "off",
      "off",
    ]);
    // The next client gets the only session that the pooler has.
    await using next = await testSession({ url: pooler.url });
    const left = await next.script(`SELECT ${settingsSeen}`);
    const own = await session.script(`SELECT ${settingsSeen}`);
    assert.deepEqual(left, own);
  });

  it("shortens the timeout of a late flush, and of no other", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl(), {
      default_pool_size: 1,
    });
    await using session = await testSession({
      url: pooler.url,
      preparedStatements: false,
      transactionSettings: { statement_timeout: "9000", lock_timeout: "7" },
    });
    const sleep = statement({ text: "SELECT pg_sleep(60)", once: true });
    await assert.rejects(
      session.run([bind(sleep)], 50),
      (error: unknown) =>
        error instanceof PgError && error.sqlState === "57014",
    );
    const timeouts = bind(statement({
      text: "SELECT current_setting('statement_timeout'), " +
        "current_setting('lock_timeout')",
      columns: ["text", "text"],
    }));
    const [first, second] = await session.run([timeouts, timeouts]);
    assert.deepEqual(first.rows, [["9s", "7ms"]]);
    assert.deepEqual(second.rows, [["9s", "7ms"]]);
  });

  it("recovers when the pooler's connections are killed", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl(), {
      default_pool_size: 2,
    });
    await using test = await openBehind(pooler, {
      operationTimeoutMs: 30_000,
      retry: { attempts: 100 },
    });
    const written = writeMany(test, 20);
    for (let round = 0; round < 5; round++) {
      for (const pid of await serverPids(pooler)) await terminate(pid);
    }
    await assertWritten(test, await written, 20);
    assert.ok(!test.storage.signal.aborted);
  });

  it("recovers when the pooler is killed and restarted", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl());
    await using test = await openBehind(pooler, {
      operationTimeoutMs: 30_000,
      retry: { attempts: 100 },
    });
    const written = writeMany(test, 20);
    await pooler.restart();
    await pooler.restart();
    await assertWritten(test, await written, 20);
    assert.ok(!test.storage.signal.aborted);
  });

  it("fails with UNAVAILABLE while the pooler or the server is away", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl(), {
      default_pool_size: 1,
      query_wait_timeout: 1,
    });
    await using test = await openBehind(pooler, { retry: { attempts: 1 } });
    const { storage } = test;
    const away = (error: unknown) =>
      isStreamStorageError(error, "UNAVAILABLE") && error.retryable;
    await using other = await testSession({ url: pooler.url });
    await other.script("BEGIN"); // takes the only connection
    await assert.rejects(storage.getStreamsNumber(), away);
    const id = newStreamId();
    await assert.rejects(storage.createStreamStorage(id, genesis), away);
    await other.script("COMMIT");
    await pooler.kill();
    await assert.rejects(storage.createStreamStorage(id, genesis), away);
    await pooler.restart();
    await storage.createStreamStorage(id, genesis);
    assert.equal(await storage.getStreamsNumber(), 1);
  });
});

const settingsSeen = [
  "transaction_isolation",
  "statement_timeout",
  "lock_timeout",
  "plan_cache_mode",
  "enable_seqscan",
  "jit",
].map((name) => `current_setting('${name}') AS ${name}`).join(", ");

/** Records the settings of the transaction that creates a stream. */
function watchSettings(schema: string): string {
  return `CREATE TABLE ${schema}.seen AS SELECT ${settingsSeen} LIMIT 0;
    CREATE FUNCTION ${schema}.watch() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO ${schema}.seen SELECT ${settingsSeen};
        RETURN NEW;
      END $$;
    CREATE TRIGGER watch AFTER INSERT ON ${schema}.es
      FOR EACH ROW EXECUTE FUNCTION ${schema}.watch()`;
}
