/**
 * A real server waits for a synchronous standby that never comes. If the wait
 * of a commit is canceled, or its session is ended, the commit must not be
 * acknowledged, although its rows are there.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { CrashServer } from "../support/servers/crash_server.ts";
import { ConnectionLostError } from "../../src/database/pg_error.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import {
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { testSession } from "../support/sessions.ts";

const event = new Uint8Array([1]);

describe("A commit that waits for a standby", () => {
  let server: CrashServer;
  let storage: PostgresStreamStorage;

  before(async () => {
    server = await CrashServer.start();
    storage = await openStreamStorage({
      url: server.url,
      schema: "waits",
      partitions: 1,
      startupDelayMs: 0,
      maxConnections: 4,
      workerConcurrency: 0,
      retry: { attempts: 100, minDelayMs: 1, maxDelayMs: 20 },
    });
  });
  after(async () => {
    await setStandby("");
    await storage.close();
    await server[Symbol.asyncDispose]();
  });

  async function setStandby(names: string): Promise<void> {
    await server.set("synchronous_standby_names", names);
    while (names !== "" && !await commitWaits());
  }

  /** Whether the setting is in force; ends the waits that it finds. */
  async function commitWaits(): Promise<boolean> {
    let isDone = false;
    const commit = server
      .query("SELECT pg_logical_emit_message(true, 'probe', '')")
      .then(() => isDone = true);
    let hasWaited = false;
    while (!isDone && !hasWaited) hasWaited = await end("cancel") > 0;
    await commit;
    return hasWaited;
  }

  /** Ends the wait of each waiting commit in this way; returns their number. */
  async function end(how: "cancel" | "terminate"): Promise<number> {
    const rows = await server.query(
      `SELECT pg_${how}_backend(pid) FROM pg_stat_activity
       WHERE wait_event = 'SyncRep'`,
    );
    return rows.length;
  }

  it("is not acknowledged if the wait was canceled", async () => {
    await using session = await testSession({ url: server.url });
    const isOne = { text: "CREATE TABLE waited (id int)", once: true };
    await setStandby("nobody");
    const commit = session.run([bind(statement(isOne))]);
    const lost = assert.rejects(
      commit,
      (error) => error instanceof ConnectionLostError && error.sent,
    );
    while (await end("cancel") === 0);
    await lost;
    // The table exists nevertheless, and the session goes on.
    assert.ok(session.usable);
    await session.script("SELECT FROM waited");
    await setStandby("");
  });

  const writes: Record<
    string,
    (id: ReturnType<typeof newStreamId>) => Promise<void>
  > = {
    writeEvent: (id) => storage.writeEvent(id, 1n, 0, event),
    writeMiniblocks: (id) =>
      storage.writeMiniblocks(
        id,
        [{ number: 1n, data: event }],
        { generation: 2n, envelopes: [] },
        { generation: 1n, size: 0 },
      ),
    deleteStream: (id) => storage.deleteStream(id),
    createStreamStorage: async (id) => {
      await storage.createStreamStorage(newStreamId(), snapshotBlock(0));
      await storage.getLastMiniblockNumber(id);
    },
  };
  for (const how of ["cancel", "terminate"] as const) {
    for (const [name, write] of Object.entries(writes)) {
      it(`is not acknowledged as ${name} before a later commit has waited, after ${how}`, async () => {
        const id = newStreamId();
        await storage.createStreamStorage(id, snapshotBlock(0));
        await setStandby("nobody");
        let isDone = false;
        const written = write(id).then(() => isDone = true);
        // The waits of the write, and of the commits that would confirm it.
        for (let ended = 0; ended < 3;) ended += await end(how);
        assert.equal(isDone, false);
        await setStandby("");
        await written;
      });
    }
  }
});
