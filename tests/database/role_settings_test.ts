/**
 * A role of a real server whose settings are made for other programs: the store
 * sets what it needs, and works.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { migrateDown } from "../../src/database/migrations/mod.ts";
import { applySettings } from "../../src/database/role_settings.ts";
import { searchPath } from "../../src/database/search_path.ts";
import type { Session } from "../../src/database/session.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { aborted } from "../support/aborted.ts";
import { createTestDatabase, uniqueName } from "../support/database.ts";
import { testSession } from "../support/sessions.ts";
import { untilSeen } from "../support/until.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const genesis = { number: 0n, data: bytes("genesis") };

/**
 * A name whose meaning depends on the encoding and on the syntax of literals.
 */
const schema = `Rôle's "q" \\ é`;
const quoted = `"${schema.replaceAll('"', '""')}"`;

const settings: Record<string, string> = {
  statement_timeout: "300ms",
  lock_timeout: "20ms",
  idle_session_timeout: "300ms",
  idle_in_transaction_session_timeout: "50ms",
  default_transaction_isolation: "serializable",
  client_min_messages: "error",
  client_encoding: "LATIN1",
  standard_conforming_strings: "off",
  search_path: "public",
  TimeZone: "Pacific/Kiritimati",
  DateStyle: "SQL, DMY",
  IntervalStyle: "sql_standard",
  bytea_output: "escape",
  extra_float_digits: "0",
  plan_cache_mode: "force_custom_plan",
  enable_seqscan: "on",
  enable_bitmapscan: "on",
  enable_indexscan: "off",
  jit: "on",
};

/** The settings of a session that writes. */
const expected: Record<string, string> = {
  statement_timeout: "5s",
  lock_timeout: "500ms",
  idle_session_timeout: "0",
  transaction_isolation: "repeatable read",
  client_min_messages: "warning",
  client_encoding: "UTF8",
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  jit: "off",
};

interface Ground extends AsyncDisposable {
  /** The login of the role. */
  url: string;
  /** The login of an administrator. */
  adminUrl: string;
  admin: Session;
}

/** Makes a role with these settings, and its own database. */
async function hostileRole(): Promise<Ground> {
  const name = uniqueName("hostile");
  await using session = await testSession();
  await session.script(`CREATE ROLE ${name} LOGIN PASSWORD 'p'`);
  const database = await createTestDatabase(`OWNER ${name}`);
  const [[major] = []] = await session.script(
    "SELECT current_setting('server_version_num')::int / 10000",
  );
  const all = Number(major) < 17
    ? settings
    : { ...settings, transaction_timeout: "300ms" };
  for (const [setting, value] of Object.entries(all)) {
    await session.script(`ALTER ROLE ${name} SET ${setting} = '${value}'`);
  }
  const adminUrl = database.url;
  const admin = await testSession({ url: adminUrl });
  const url = new URL(adminUrl);
  url.username = name;
  url.password = "p";
  return {
    url: url.href,
    adminUrl,
    admin,
    [Symbol.asyncDispose]: async () => {
      await admin.close();
      await database[Symbol.asyncDispose]();
      await using session = await testSession();
      await session.script(`DROP ROLE ${name}`);
    },
  };
}

/** Waits until every session of the role was idle for longer than it may be. */
async function allIdle({ admin }: Ground): Promise<void> {
  await untilSeen(async () => {
    const [[are] = []] = await admin.script(
      `SELECT count(*) > 2 AND bool_and(state = 'idle'
         AND state_change < now() - interval '400 ms')
       FROM pg_stat_activity WHERE datname = current_database()
         AND pid <> pg_backend_pid()`,
    );
    return are === "t";
  });
}

/** Waits until two statements, one after the other, have waited for a lock. */
async function waitsAgain(watcher: Session, query: string): Promise<void> {
  const seen = new Set<string | null>();
  while (seen.size < 2) {
    const [[since] = []] = await watcher.script(
      `SELECT query_start FROM pg_stat_activity
       WHERE datname = current_database() AND wait_event_type = 'Lock'
         AND query LIKE '${query}'`,
    );
    if (since !== undefined) seen.add(since);
  }
}

describe("A role with settings of its own", () => {
  it("installs, owns and uses a store like any other role", async () => {
    await using ground = await hostileRole();
    const { url, admin } = ground;
    const events: string[] = [];
    const options: StreamStorageOptions = {
      url,
      schema,
      instanceId: "Ä 1",
      partitions: 2,
      startupDelayMs: 0,
      workerConcurrency: 0,
      maxConnections: 3,
      logger: ({ code }) => events.push(code),
      // Longer than the server would wait, for this statement and for the next.
      beforeMigration: async (session) => {
        for (const each of [session, admin]) {
          await each.script("SELECT pg_sleep(0.4)");
        }
      },
    };
    await using first = await openStreamStorage(options);
    const id = newStreamId();
    await first.createStreamStorage(id, genesis);
    await first.writeEvent(id, 1n, 0, bytes("é"));
    await first.readStreamFromLastSnapshot(id, 0);
    await allIdle(ground);
    await first.writeEvent(id, 1n, 1, bytes("é"));
    assert.deepEqual(
      events.filter((code) => code.startsWith("ownership_session")),
      [],
    );

    // A write of the owner lasts longer than a statement of the role may.
    await admin.script(`BEGIN; SELECT FROM ${quoted}.singlenodekey FOR SHARE`);
    await using watcher = await testSession({ url: ground.adminUrl });
    const opening = openStreamStorage({ ...options, instanceId: "Ä 2" });
    await waitsAgain(watcher, "%DELETE FROM%");
    await admin.script("COMMIT");
    await using second = await opening;
    await aborted(first.signal);
    await second.writeMiniblocks(
      id,
      [{ number: 1n, data: bytes("block"), snapshot: bytes("snapshot") }],
      { generation: 2n, envelopes: [] },
      { generation: 1n, size: 2 },
    );
    const [[uuid] = []] = await admin.script(
      `SELECT uuid FROM ${quoted}.singlenodekey`,
    );
    assert.equal(uuid, "Ä 2");
    await second.close();
    await using session = await testSession({ url });
    await session.script("SET standard_conforming_strings = on");
    await migrateDown(session, { schema, to: 8 });
  });

  it("writes with the store's settings, where they matter", async () => {
    await using ground = await hostileRole();
    const { url, admin } = ground;
    await using storage = await openStreamStorage({
      url,
      schema,
      partitions: 1,
      startupDelayMs: 0,
      isolationLevel: "repeatable read",
    });
    const names = Object.keys({ ...expected, transaction_timeout: "" });
    const seen = names.map((name) => `current_setting('${name}', true)`);
    await admin.script(
      `CREATE TABLE public.seen (setting text);
       GRANT INSERT ON public.seen TO PUBLIC;
       CREATE FUNCTION public.watch() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           INSERT INTO public.seen SELECT unnest(ARRAY[${seen}]);
           RETURN NEW;
         END $$;
       CREATE TRIGGER watch AFTER INSERT ON ${quoted}.es
         FOR EACH ROW EXECUTE FUNCTION public.watch()`,
    );
    await storage.createStreamStorage(newStreamId(), genesis);
    const rows = await admin.script("SELECT setting FROM public.seen");
    const found = Object.fromEntries(
      names.map((name, i) => [name, rows[i]![0]]),
    );
    const { transaction_timeout: timeout, ...others } = found;
    assert.deepEqual(others, expected);
    // An earlier release does not know the setting, and returns null.
    assert.ok(timeout === "0" || timeout === null);
  });
});

describe("The settings of a session", () => {
  it("leave out those that the server does not know", async () => {
    await using session = await testSession();
    await applySettings(session, {
      no_such_setting: "1",
      lock_timeout: "4321",
    });
    const [row] = await session.script(
      `SELECT current_setting('no_such_setting', true),
        current_setting('lock_timeout'), current_setting('search_path')`,
    );
    assert.deepEqual(row, [null, "4321ms", searchPath]);
  });
});
