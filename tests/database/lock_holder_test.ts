/**
 * An opening that waits for the owner's lock reports the sessions that hold it,
 * as far as its role may see them on a real server.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type LockHolder,
  LockWait,
  type LockWaitOptions,
} from "../../src/database/lock_holder.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { schemaLockId } from "../../src/storage/stream_id.ts";
import type { LogEvent } from "../../src/telemetry/log_events.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { openSession } from "../support/migration_connection.ts";
import { installRoles } from "../support/migrations/roles.ts";
import { until } from "../support/until.ts";

const holdersIn = (event: LogEvent) =>
  event.details?.["holders"] as LockHolder[];

describe("The owner's lock, held by other sessions,", () => {
  it("is reported with its holders", async () => {
    await using roles = await installRoles();
    const { schema, urls } = roles;
    const key = schemaLockId(schema);
    // Any login may hold the lock: here a reader's, and one of the store's
    // role.
    await using outside = await openSession(urls.read);
    await using relative = await openSession(urls.run);
    const [[othersPid], [relativesPid]] = await Promise.all(
      [outside, relative].map(async (session) => {
        await session.script("SET application_name = 'nobody''s \"tool\"'");
        await session.script(`SELECT pg_advisory_lock_shared(${key})`);
        const [row] = await session.script("SELECT pg_backend_pid()");
        return row!;
      }),
    ) as [string[], string[]];
    const events: LogEvent[] = [];
    const logged = () =>
      events.filter(({ code }) => code === "ownership_lock_held");
    const opened = openStreamStorage({
      url: urls.run,
      schema,
      migrate: "check",
      startupDelayMs: 0,
      maxConnections: 3,
      logger: (event) => void events.push(event),
    });
    opened.catch(() => {}); // awaited below
    await until(() => logged().length > 0);
    const [first] = logged();
    const byPid = new Map(holdersIn(first!).map((one) => [one.pid, one]));
    const [other, own] = [othersPid, relativesPid].map((pid) =>
      byPid.get(Number(pid))!
    );
    assert.equal(byPid.size, 2);
    assert.equal(own!.application, 'nobody\'s "tool"');
    assert.match(own!.since!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    // The server shows less of another role's session, and the message says so.
    assert.match(other!.role!, /^read "\w+"\\u\{a\}/);
    assert.equal(other!.since, null);
    const { message } = first!;
    assert.ok(message.includes(`session ${othersPid}, of role "read \\"`));
    assert.match(
      message,
      /application "nobody's \\"tool\\"", since an unknown time/,
    );
    assert.doesNotMatch(message, /\p{Cc}/u);
    assert.ok(Number(first!.details!["waitedMs"]) >= 5000);
    // The lock is free now, so the store opens.
    for (const session of [outside, relative]) {
      await session.script(`SELECT pg_advisory_unlock_shared(${key})`);
    }
    await (await opened).close();
  });

  it("is reported after 5 s, when its holders change, and once a minute", async () => {
    const url = await testDatabaseUrl();
    const schema = `held_${crypto.randomUUID()}`;
    const key = schemaLockId(schema);
    await using first = await openSession(url);
    await using second = await openSession(url);
    await using waiting = await openSession(url);
    for (const session of [first, second]) {
      await session.script(`SELECT pg_advisory_lock_shared(${key})`);
    }
    let now = 0;
    const reported: [ms: number, holders: number | undefined][] = [];
    const onEvent: LockWaitOptions["onEvent"] = (_, message, details) => {
      const holders = details?.["holders"] as LockHolder[] | null;
      reported.push([now, holders?.length]);
      assert.equal(holders === null, message.endsWith("can't be looked up"));
    };
    const wait = new LockWait({ schema, key, now: () => now, onEvent });
    const waitUntil = async (end: number) => {
      for (; now < end; now += 1000) await wait.failed(waiting);
    };
    await waitUntil(20_000);
    assert.deepEqual(reported, [[5000, 2]]);
    await first.script(`SELECT pg_advisory_unlock_shared(${key})`);
    await waitUntil(90_000);
    assert.deepEqual(reported, [[5000, 2], [20_000, 1], [80_000, 1]]);
    // The try failed, but the look finds no holder: the lock is just changing.
    await second.script(`SELECT pg_advisory_unlock_shared(${key})`);
    await waitUntil(300_000);
    assert.equal(reported.length, 3);
    await waiting.close();
    await waitUntil(310_000);
    assert.deepEqual(reported[3], [300_000, undefined]);
  });
});
