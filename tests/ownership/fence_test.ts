/**
 * The fence and re-fencing on a real server, first alone, then in a store
 * behind a proxy that loses answers. src/database/fence.ts says what they
 * guarantee, and ownership/fence_model_test.ts tries the protocol in every
 * order.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  Fence,
  notOwnerReason,
  type RunFlush,
} from "../../src/database/fence.ts";
import {
  FenceClosedError,
  FenceTimeoutError,
} from "../../src/database/fence_errors.ts";
import { ConnectionLostError } from "../../src/database/pg_error.ts";
import { rejectionOf } from "../../src/database/rejection.ts";
import type { Session } from "../../src/database/session.ts";
import { bind, type Bound, statement } from "../../src/database/statement.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { startProxy, type WireMessage } from "../support/network/proxy.ts";
import { blocked, testSession, testTable } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

const gate = 8_112;
const patient = () => performance.now() + 30_000;
const event = new TextEncoder().encode("event");

/** A table of owners with our row, a fence, and sessions to work on it. */
class Ground implements AsyncDisposable {
  readonly fence: Fence;
  raised = 0;
  closed = 0;

  readonly table: string;
  readonly sessions: readonly [Session, Session, Session];
  readonly #drop: () => Promise<void>;

  private constructor(
    table: string,
    sessions: Ground["sessions"],
    epoch: bigint,
    drop: () => Promise<void>,
  ) {
    this.table = table;
    this.sessions = sessions;
    this.#drop = drop;
    this.fence = new Fence({
      table,
      instanceId: "us",
      epoch,
      onRaised: () => this.raised++,
      onClosed: () => this.closed++,
    });
  }

  static async make(isolation = "read committed"): Promise<Ground> {
    const table = await testTable(
      "uuid varchar, storage_connection_time timestamp, info varchar",
    );
    const settings = { default_transaction_isolation: isolation };
    const sessions = [
      await testSession({ settings }),
      await testSession({ settings }),
      await testSession({ settings }),
    ] as const;
    const [{ rows: [row] }] = await sessions[0].run([bind(statement({
      text: `INSERT INTO ${table.name} VALUES ('us', now(), '')
        RETURNING storage_connection_time`,
      columns: ["timestamp"],
    }))]);
    const drop = async () => {
      for (const session of sessions) session.destroy("Done");
      await table[Symbol.asyncDispose]();
    };
    return new Ground(table.name, sessions, row![0], drop);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#drop();
  }

  async epoch(): Promise<bigint | undefined> {
    const [{ rows: [row] }] = await this.sessions[2].run([bind(statement({
      text: `SELECT storage_connection_time FROM ${this.table}`,
      columns: ["timestamp"],
    }))]);
    return row?.[0];
  }

  /**
   * A flush that passes the fence, then waits while a session holds the gate.
   */
  slow(): Bound[] {
    return [
      this.fence.statement,
      bind(statement({
        text: `SELECT pg_advisory_xact_lock_shared(${gate})::text`,
        columns: ["text"],
      })),
    ];
  }
}

const runOn = (session: Session): RunFlush => (bound) => session.run(bound);

async function refusalOf(flush: Promise<unknown>): Promise<string | undefined> {
  const error = await flush.then(() => undefined, (error) => error);
  return rejectionOf(error)?.reason ?? error?.sqlState;
}

describe("Raising the epoch", () => {
  it("stops every flush that was made before", async () => {
    await using ground = await Ground.make();
    const { fence, sessions: [ours, late] } = ground;
    const before = fence.statement;
    await late.run([before]);
    fence.doubt(fence.epoch);
    await fence.renew(runOn(ours), patient());
    assert.deepEqual([fence.isInDoubt, ground.raised], [false, 1]);
    assert.equal(await refusalOf(late.run([before])), notOwnerReason);
    await late.run([fence.statement]);
    assert.equal(await ground.epoch(), fence.epoch);
  });

  it("waits for a flush that has passed the fence", async () => {
    await using ground = await Ground.make();
    const { fence, sessions: [ours, late, other] } = ground;
    await other.script(`SELECT pg_advisory_lock(${gate})`);
    const passed = late.run(ground.slow());
    await blocked(late.processId);
    let isRaised = false;
    const raised = fence.renew(runOn(ours), patient())
      .then(() => isRaised = true);
    await blocked(ours.processId);
    assert.equal(isRaised, false);
    await other.script(`SELECT pg_advisory_unlock(${gate})`);
    await passed;
    await raised;
  });

  for (
    const [isolation, refusal] of [
      ["read committed", notOwnerReason],
      ["repeatable read", "40001"],
      ["serializable", "40001"],
    ] as const
  ) {
    it(`stops a flush that comes meanwhile, at ${isolation}`, async () => {
      await using ground = await Ground.make(isolation);
      const { fence, table, sessions: [ours, late] } = ground;
      await ours.script(
        `BEGIN; UPDATE ${table} SET storage_connection_time =
           storage_connection_time + interval '1 microsecond'`,
      );
      const flush = refusalOf(late.run([fence.statement]));
      await blocked(late.processId);
      await ours.script("COMMIT");
      assert.equal(await flush, refusal);
    });
  }

  it("exceeds a raise whose answer was lost, and whose late copy then does nothing", async () => {
    await using ground = await Ground.make();
    const { fence, sessions: [ours, late] } = ground;
    const first = fence.epoch;
    let lost: readonly Bound[] = [];
    const losing: RunFlush = async (bound) => {
      lost = bound;
      await ours.run(bound);
      throw new ConnectionLostError("Gone", true);
    };
    fence.doubt(first);
    await assert.rejects(
      fence.renew(losing, patient()),
      // The caller's own write has not been sent.
      (error) => error instanceof ConnectionLostError && !error.sent,
    );
    assert.equal(fence.isInDoubt, true);
    assert.equal(await ground.epoch(), first + 1n);
    assert.ok(fence.isOurs("us", first + 1n));
    await fence.renew(runOn(ours), patient());
    assert.equal(fence.epoch, first + 2n);
    const [, { count }] = await late.run(lost as [Bound, Bound]);
    assert.equal(count, 0);
    assert.equal(await ground.epoch(), first + 2n);
  });

  it("happens once for all callers that wait, each until its own deadline", async () => {
    await using ground = await Ground.make();
    const { fence, sessions: [ours] } = ground;
    const first = fence.epoch;
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow: RunFlush = async (bound) => {
      await promise;
      return await ours.run(bound);
    };
    const waits = [1, 2, 3].map(() => fence.renew(slow, patient()));
    await assert.rejects(
      fence.renew(slow, performance.now() + 5),
      FenceTimeoutError,
    );
    resolve();
    await Promise.all(waits);
    assert.equal(await ground.epoch(), first + 1n);
  });

  for (const timeoutMs of [0, 200]) {
    it(`ends a transaction that its client left unfinished, with statement_timeout ${timeoutMs}`, async () => {
      await using ground = await Ground.make();
      const { fence, table, sessions: [ours, stuck] } = ground;
      await ours.script(`SET statement_timeout = ${timeoutMs}`);
      await stuck.script(`BEGIN; SELECT 1 FROM ${table} FOR SHARE`);
      await fence.renew(runOn(ours), patient());
      await stuck.closed;
      assert.equal(await ground.epoch(), fence.epoch);
    });
  }

  it("recovers a row that has an earlier epoch of ours", async () => {
    await using ground = await Ground.make();
    const { fence, table, sessions: [ours] } = ground;
    await fence.renew(runOn(ours), patient());
    // As on a server that was promoted without the last commits.
    await ours.script(
      `UPDATE ${table} SET storage_connection_time =
         storage_connection_time - interval '1 microsecond'`,
    );
    const flush = ours.run([fence.statement]);
    assert.equal(await refusalOf(flush), notOwnerReason);
    await fence.renew(runOn(ours), patient());
    await ours.run([fence.statement]);
  });

  for (
    const [what, change] of [
      ["is gone", "DELETE FROM"],
      ["is that of a later start of ours", "UPDATE"],
      ["is not the only one", "INSERT INTO"],
    ] as const
  ) {
    it(`closes the fence for good if the row ${what}`, async () => {
      await using ground = await Ground.make();
      const { fence, table, sessions: [ours] } = ground;
      await ours.script(
        `${change} ${table} ` + {
          "DELETE FROM": "",
          // An instance of the same name that started again.
          "UPDATE": "SET storage_connection_time = now() + interval '1 s'",
          "INSERT INTO": "VALUES ('node', now(), '')",
        }[change],
      );
      for (let tries = 0; tries < 2; tries++) {
        await assert.rejects(
          fence.renew(runOn(ours), patient()),
          FenceClosedError,
        );
      }
      assert.equal(ground.closed, 1);
    });
  }

  it("settles the doubt of flushes that were sent before, not after", async () => {
    await using ground = await Ground.make();
    const { fence, sessions: [ours] } = ground;
    const first = fence.epoch;
    await fence.renew(runOn(ours), patient());
    // The raised epoch stops this flush already.
    fence.doubt(first);
    assert.equal(fence.isInDoubt, false);
    fence.doubt(fence.epoch);
    assert.equal(fence.isInDoubt, true);
  });
});

describe("A store that re-fences", () => {
  const small = {
    partitions: 1,
    operationTimeoutMs: 10_000,
    retry: { minDelayMs: 1, maxDelayMs: 10 },
  };

  async function events(
    storage: {
      readStreamFromLastSnapshot(
        id: StreamId,
        n: number,
      ): Promise<{ minipoolEnvelopes: Uint8Array[] }>;
    },
    id: StreamId,
  ): Promise<number> {
    const { minipoolEnvelopes } = await storage
      .readStreamFromLastSnapshot(id, 0);
    return minipoolEnvelopes.length;
  }

  /** Which messages of another slot's write are held while the epoch rises. */
  const onTheirWay: Record<string, (message: WireMessage) => boolean> = {
    // The server refuses the write.
    "repeats a write in another slot that arrives too late": () => true,
    // The first statements hold the share lock, so the server ends the write.
    "repeats a write in another slot that has arrived in part": (
      { bytes },
    ) => bytes.length > 100_000,
  };
  for (const [name, isHeld] of Object.entries(onTheirWay)) {
    it(name, async () => {
      await using proxy = await startProxy(await testDatabaseUrl());
      await using test = await openTestStorage({ ...small, url: proxy.url });
      const { storage } = test;
      const [lost, late] = [newStreamId(), newStreamId()];
      for (const id of [lost, late]) {
        await storage.createStreamStorage(id, snapshotBlock(0));
      }
      // Large, so that each has a transaction of its own.
      const large = new Uint8Array(100_000).fill(1);
      const holds = Promise.withResolvers<void>();
      let heldOn: number | undefined;
      let lostOn: number | undefined;
      proxy.setRule((message) => {
        const { side, type, connection } = message;
        if (side === "backend") {
          const isLost = type === "Z" && connection === lostOn;
          return isLost ? "cut-before" : "forward";
        }
        if (heldOn === undefined && isHeld(message)) heldOn = connection;
        if (connection === heldOn) return { until: holds.promise };
        if (message.bytes.includes(lost)) lostOn ??= connection;
        return "forward";
      });
      const written = storage.writeEvent(late, 1n, 0, large);
      await until(() => heldOn !== undefined);
      await storage.writeEvent(lost, 1n, 0, large);
      holds.resolve();
      await written;
      for (const id of [lost, late]) assert.equal(await events(storage, id), 1);
      assert.equal(storage.signal.aborted, false);
    });
  }

  it("ignores its own notification, and removes its row when it closes", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({ ...small, url: proxy.url });
    const { storage, schema } = test;
    await using session = await testSession();
    const notified = Promise.withResolvers<void>();
    session.onNotification(({ payload }) => {
      if (payload === schema) notified.resolve();
    });
    await session.script("LISTEN singlenodekey");
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    const cut = proxy.cutAt({
      side: "backend",
      type: "Z",
      nth: 1,
      when: "before",
    });
    await storage.writeEvent(id, 1n, 0, event);
    await cut;
    await notified.promise;
    for (let slot = 1; slot < 20; slot++) {
      await storage.writeEvent(id, 1n, slot, event);
    }
    assert.equal(storage.signal.aborted, false);
    await storage.close();
    const rows = await session.script(`SELECT 1 FROM ${schema}.singlenodekey`);
    assert.deepEqual(rows, []);
  });

  const next: Record<
    string,
    (storage: PostgresStreamStorage, id: StreamId) => Promise<unknown>
  > = {
    write: (storage, id) => storage.writeEvent(id, 1n, 0, event),
    read: (storage, id) => storage.getLastMiniblockNumber(id),
  };
  for (const [kind, call] of Object.entries(next)) {
    it(`raises the epoch before its next ${kind}, when the database is back`, async () => {
      await using proxy = await startProxy(await testDatabaseUrl());
      await using test = await openTestStorage({
        ...small,
        url: proxy.url,
        operationTimeoutMs: 1000,
      });
      const { storage } = test;
      const [lost, other] = [newStreamId(), newStreamId()];
      for (const id of [lost, other]) {
        await storage.createStreamStorage(id, snapshotBlock(0));
      }
      proxy.setRule(({ side, type }) => {
        if (side === "backend" && type === "C") proxy.silence(true);
        return "forward";
      });
      await assert.rejects(
        storage.writeEvent(lost, 1n, 0, event),
        (error) => isStreamStorageError(error) && error.outcome === "unknown",
      );
      const sent: string[] = [];
      proxy.setRule(({ side, bytes }) => {
        if (side !== "frontend") return "forward";
        if (bytes.includes("SET storage_connection_time")) sent.push("raise");
        if (bytes.includes(other)) sent.push(kind);
        return "forward";
      });
      proxy.silence(false);
      for (let isDone = false; !isDone;) {
        // The call fails until the store has given up the silent sessions.
        isDone = await call(storage, other).then(() => true, () => false);
      }
      assert.deepEqual([sent[0], sent.includes(kind)], ["raise", true]);
      assert.equal(await events(storage, lost), 1);
    });
  }

  it("reads on while no epoch can be raised", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({ ...small, url: proxy.url });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    // The third write prepares nothing, so its only answer follows the commit.
    for (const slot of [0, 1]) await storage.writeEvent(id, 1n, slot, event);
    let isLost = false;
    proxy.setRule(({ side, type, bytes }) => {
      if (side === "backend" && type === "Z" && !isLost) {
        isLost = true;
        return "cut-before";
      }
      const isRaise = bytes.includes("SET storage_connection_time");
      return side === "frontend" && isRaise ? "cut-before" : "forward";
    });
    await assert.rejects(
      storage.writeEvent(id, 1n, 2, event),
      (error) => isStreamStorageError(error) && error.outcome === "unknown",
    );
    assert.equal(await events(storage, id), 3);
    proxy.setRule(undefined);
    await storage.writeEvent(id, 1n, 3, event);
  });
});
