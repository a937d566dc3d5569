/**
 * Events that are added to a cached minipool without a look at it, and
 * everything that must prevent that, on a real server.
 * src/postgres/write_path/minipool_cache.ts says what and why.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { MinipoolCache } from "../../src/postgres/write_path/minipool_cache.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  bytes,
  candidate,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { BindCounts } from "../support/write_path/bind_counts.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { assertInvariants } from "../support/invariants.ts";
import { openSession } from "../support/migration_connection.ts";
import { type Proxy, startProxy } from "../support/network/proxy.ts";
import { openTestStorage } from "../support/storage.ts";

describe("The minipool cache", () => {
  const id = newStreamId();
  const minipool = {
    generation: 1n,
    next: 1,
    isContiguous: true,
    lockedBy: 5010n,
    at: 3,
  };

  it("keeps nothing of the last server, even from answers that come later", () => {
    const cache = new MinipoolCache();
    const { era } = cache;
    cache.learn(id, minipool, era);
    assert.equal(cache.get(id), minipool);
    cache.forgetAll();
    assert.equal(cache.get(id), undefined);
    cache.learn(id, minipool, era);
    assert.equal(cache.get(id), undefined);
    cache.learn(id, minipool, cache.era);
    assert.equal(cache.get(id), minipool);
  });
});

const event = (slot: number) => bytes(`event ${slot}`);

async function eventsOf(
  storage: PostgresStreamStorage,
  id: StreamId,
): Promise<string[]> {
  const { minipoolEnvelopes } = await storage.readStreamFromLastSnapshot(id, 0);
  return minipoolEnvelopes.map((envelope) =>
    new TextDecoder().decode(envelope)
  );
}

/** Makes a stream with so many events, whose minipool is then in the cache. */
async function cachedStream(
  storage: PostgresStreamStorage,
  events = 1,
): Promise<StreamId> {
  const id = newStreamId();
  await storage.createStreamStorage(id, snapshotBlock(0));
  for (let slot = 0; slot < events; slot++) {
    await storage.writeEvent(id, 1n, slot, event(slot));
  }
  return id;
}

const swapAfter = (events: number) =>
  [
    [block(1)],
    { generation: 2n, envelopes: [] },
    { generation: 1n, size: events },
  ] as [
    Parameters<PostgresStreamStorage["writeMiniblocks"]>[1],
    Parameters<PostgresStreamStorage["writeMiniblocks"]>[2],
    Parameters<PostgresStreamStorage["writeMiniblocks"]>[3],
  ];

describe("An event to a cached minipool", () => {
  let proxy: Proxy;
  let test: TestStreamStorage;
  let storage: PostgresStreamStorage;
  let session: Session;
  let minipools: string;
  let es: string;
  /** Counts the events that are added without a look. */
  let binds: BindCounts<"unchecked">;

  before(async () => {
    proxy = await startProxy(await testDatabaseUrl());
    test = await openTestStorage({ url: proxy.url, partitions: 1 });
    ({ storage } = test);
    session = await openSession(await testDatabaseUrl());
    binds = new BindCounts(proxy, {
      unchecked: "slot_num, envelope) VALUES ($1, $2, $3, $4)",
    });
    minipools = `"${test.schema}".minipools_r00`;
    es = `"${test.schema}".es`;
  });
  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
    await proxy.close();
  });
  beforeEach(() => binds.reset());
  const unchecked = () => binds.of("unchecked");

  /** Writes to the stream as another writer, which also locks its row first. */
  const foreign = (id: StreamId, sql: string) =>
    session.script(
      `BEGIN; SELECT 1 FROM ${es} WHERE stream_id = '${id}' FOR UPDATE;
       ${sql}; COMMIT`,
    );

  /** Swaps as a node does, which leaves the row alone without a snapshot. */
  const foreignSwap = (id: StreamId) =>
    foreign(
      id,
      `DELETE FROM ${minipools} WHERE stream_id = '${id}';
       INSERT INTO "${test.schema}".miniblocks_r00 VALUES ('${id}', 1, 'b');
       INSERT INTO ${minipools} VALUES ('${id}', 2, -1)`,
    );

  it("is added without a look, from the second on", async () => {
    const id = await cachedStream(storage, 3);
    assert.equal(unchecked(), 2);
    await Promise.all(
      [3, 4, 5].map((slot) => storage.writeEvent(id, 1n, slot, event(slot))),
    );
    assert.equal(unchecked(), 5);
    assert.equal((await eventsOf(storage, id)).length, 6);
  });

  it("is added without a look to many streams at once", async () => {
    const ids = await Promise.all(
      Array.from({ length: 70 }, () => cachedStream(storage, 2)),
    );
    binds.reset();
    await Promise.all(
      ids.flatMap((id) =>
        [2, 3].map((slot) => storage.writeEvent(id, 1n, slot, event(slot)))
      ),
    );
    assert.equal(unchecked(), 140);
    for (const id of ids) {
      assert.equal((await eventsOf(storage, id)).length, 4);
    }
  });

  it("needs a look again after another write to the stream", async () => {
    const id = await cachedStream(storage);
    const large = new Uint8Array(100_000);
    await storage.writeMiniblockCandidate(id, { ...candidate(2), data: large });
    await storage.writeEvent(id, 1n, 1, event(1));
    assert.equal(unchecked(), 0);
    await storage.writeMiniblocks(id, [snapshotBlock(1)], {
      generation: 2n,
      envelopes: [],
    }, { generation: 1n, size: 2 });
    await storage.writeEvent(id, 2n, 0, event(0));
    assert.equal(unchecked(), 0);
    await storage.writeEvent(id, 2n, 1, event(1));
    assert.equal(unchecked(), 1);
  });

  it("needs no look after a small candidate, which leaves the minipool alone", async () => {
    const id = await cachedStream(storage);
    await storage.writeMiniblockCandidate(id, candidate(1));
    await storage.writeEvent(id, 1n, 1, event(1));
    assert.equal(unchecked(), 1);
    // A candidate that was not stored changes nothing.
    await assertFails(storage.writeMiniblockCandidate(id, candidate(1)), {
      code: "ALREADY_EXISTS",
      reason: "candidate_exists",
    });
    await storage.writeEvent(id, 1n, 2, event(2));
    assert.equal(unchecked(), 1);
    // A candidate that was stored does not hide a foreign swap.
    await foreignSwap(id);
    await storage.writeMiniblockCandidate(id, candidate(2));
    await assertFails(storage.writeEvent(id, 1n, 3, event(3)), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_generation_mismatch",
    });
    await storage.writeEvent(id, 2n, 0, event(0));
  });

  it("needs no look after a swap that leaves the stream's row alone", async () => {
    const id = await cachedStream(storage);
    await storage.writeMiniblocks(id, [block(1)], {
      generation: 2n,
      envelopes: [event(0), event(1)],
    }, { generation: 1n, size: 1 });
    await storage.writeEvent(id, 2n, 2, event(2));
    assert.equal(unchecked(), 1);
    assert.equal((await eventsOf(storage, id)).length, 3);
    // A swap that was refused changes nothing.
    await assertFails(
      storage.writeMiniblocks(id, [block(3)], {
        generation: 4n,
        envelopes: [],
      }, { generation: 3n, size: 0 }),
      {
        code: "INTERNAL",
        reason: "last_miniblock_mismatch",
      },
    );
    await assertFails(storage.writeEvent(id, 4n, 0, event(0)), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_generation_mismatch",
    });
    assert.equal(unchecked(), 1);
  });

  it("is refused in the wrong slot, and the events after it are not", async () => {
    const id = await cachedStream(storage, 2);
    const outcomes = await Promise.allSettled(
      [2, 9, 3, 3, 4].map((slot) =>
        storage.writeEvent(id, 1n, slot, event(slot))
      ),
    );
    assert.deepEqual(
      outcomes.map(({ status }) => status === "fulfilled"),
      [true, false, true, false, true],
    );
    assert.deepEqual(
      await eventsOf(storage, id),
      [0, 1, 2, 3, 4].map((slot) => `event ${slot}`),
    );
  });

  it("is refused in the slot after one that was refused", async () => {
    const id = await cachedStream(storage);
    for (const slot of [5, 6]) {
      await assertFails(storage.writeEvent(id, 1n, slot, event(slot)), {
        code: "DB_OPERATION_FAILURE",
        reason: "minipool_slot_mismatch",
      });
    }
  });

  for (const known of [0, 2]) {
    it(`is refused in a wrong slot after another in a wrong slot, with ${known} before`, async () => {
      const id = await cachedStream(storage, known);
      const outcomes = await Promise.allSettled(
        [known + 3, known + 4, known, known + 5].map((slot) =>
          storage.writeEvent(id, 1n, slot, event(slot))
        ),
      );
      assert.deepEqual(
        outcomes.map(({ status }) => status === "fulfilled"),
        [false, false, true, false],
      );
      assert.equal((await eventsOf(storage, id)).length, known + 1);
    });
  }

  it("is refused after a foreign swap of the minipool", async () => {
    const id = await cachedStream(storage);
    await foreignSwap(id);
    await assertFails(storage.writeEvent(id, 1n, 1, event(1)), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_generation_mismatch",
    });
    await storage.writeEvent(id, 2n, 0, event(0));
  });

  it("is refused where the last events were lost", async () => {
    const id = await cachedStream(storage, 2);
    // As on a server that was promoted without the last commits.
    await foreign(
      id,
      `DELETE FROM ${minipools} WHERE stream_id = '${id}' AND slot_num = 1`,
    );
    await assertFails(storage.writeEvent(id, 1n, 2, event(2)), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_slot_mismatch",
    });
    await storage.writeEvent(id, 1n, 1, event(1));
  });

  it("is refused if the stream was deleted, or was created again", async () => {
    const id = await cachedStream(storage);
    await foreign(
      id,
      `DELETE FROM ${minipools} WHERE stream_id = '${id}';
       DELETE FROM "${test.schema}".miniblocks_r00 WHERE stream_id = '${id}';
       DELETE FROM ${es} WHERE stream_id = '${id}'`,
    );
    await assertFails(storage.writeEvent(id, 1n, 1, event(1)), {
      code: "NOT_FOUND",
      reason: "stream_not_found",
    });
    await storage.createStreamStorage(id, snapshotBlock(0));
    await assertFails(storage.writeEvent(id, 1n, 1, event(1)), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_slot_mismatch",
    });
  });

  it("gets a look if its stream has changed, without harm to its batch", async () => {
    const ids = await Promise.all(
      [0, 1, 2].map(() => cachedStream(storage)),
    );
    await foreign(ids[1]!, "SELECT 1");
    binds.reset();
    await Promise.all(
      ids.map((id) => storage.writeEvent(id, 1n, 1, event(1))),
    );
    for (const id of ids) {
      assert.deepEqual(await eventsOf(storage, id), ["event 0", "event 1"]);
    }
    // Three unchecked writes were tried. Then one needed a look.
    assert.equal(unchecked(), 3);
    await Promise.all(
      ids.map((id) => storage.writeEvent(id, 1n, 2, event(2))),
    );
    assert.equal(unchecked(), 6);
  });

  it("is refused alone if the others of its batch can be added", async () => {
    const ids = await Promise.all(
      [0, 1, 2].map(() => cachedStream(storage)),
    );
    const [swapped, ...others] = ids as [StreamId, StreamId, StreamId];
    await foreignSwap(swapped);
    const outcomes = await Promise.allSettled(
      ids.map((id) => storage.writeEvent(id, 1n, 1, event(1))),
    );
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["rejected", "fulfilled", "fulfilled"],
    );
    assert.deepEqual(await eventsOf(storage, swapped), []);
    for (const id of others) {
      assert.deepEqual(await eventsOf(storage, id), ["event 0", "event 1"]);
    }
  });

  it("is added after the server has frozen the rows", async () => {
    const id = await cachedStream(storage);
    await session.script(`VACUUM (FREEZE) ${es}`);
    await storage.writeEvent(id, 1n, 1, event(1));
    assert.equal((await eventsOf(storage, id)).length, 2);
  });
});

describe("A flush that arrives long after its connection was lost", () => {
  /** Sends an event, and holds it back until the store has given it up. */
  async function loseEvent(
    proxy: Proxy,
    storage: PostgresStreamStorage,
    id: StreamId,
  ): Promise<() => Promise<void>> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let held: number | undefined;
    proxy.setRule(({ side, connection }) => {
      if (side !== "frontend") return "forward";
      held ??= connection;
      return connection === held ? { until: promise } : "forward";
    });
    await assert.rejects(
      storage.writeEvent(id, 1n, 1, event(1)),
      (error) => isStreamStorageError(error) && error.outcome === "unknown",
    );
    return async () => {
      resolve();
      proxy.setRule(undefined);
      // The server has received the event and ended the session.
      await proxy.settled();
    };
  }

  async function withLostEvent(
    goOn: (
      storage: PostgresStreamStorage,
      id: StreamId,
      schema: string,
    ) => Promise<void>,
  ): Promise<string[]> {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      partitions: 1,
      // How long the lost event is waited for; the calls after it need less,
      // on a busy machine, too.
      operationTimeoutMs: 1500,
      retry: { minDelayMs: 1, maxDelayMs: 10 },
    });
    const { storage, schema } = test;
    const id = await cachedStream(storage);
    const deliver = await loseEvent(proxy, storage, id);
    await goOn(storage, id, schema);
    await deliver();
    await using session = await openSession(await testDatabaseUrl());
    await assertInvariants(session, { schema, partitions: 1 });
    return await eventsOf(storage, id);
  }

  it("adds nothing to the next minipool", async () => {
    const events = await withLostEvent(async (storage, id) => {
      await storage.writeEvent(id, 1n, 1, bytes("again"));
      await storage.writeMiniblocks(id, ...swapAfter(2));
    });
    assert.deepEqual(events, []);
  });

  it("adds nothing to the event that was written again", async () => {
    const events = await withLostEvent(async (storage, id) => {
      await storage.writeEvent(id, 1n, 1, bytes("again"));
      await storage.writeEvent(id, 1n, 2, event(2));
    });
    assert.deepEqual(events, ["event 0", "again", "event 2"]);
  });

  it("adds nothing to a later stream of the same name", async () => {
    const events = await withLostEvent(async (storage, id) => {
      await storage.deleteStream(id);
      await storage.createStreamStorage(id, snapshotBlock(0));
    });
    assert.deepEqual(events, []);
  });
});
