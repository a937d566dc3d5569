/**
 * Cuts the connection to a real server at every message of a write. The call
 * must still succeed: the store recognises a write that was done, and repeats
 * one that was not. lost_answers_test.ts has further writes, and worse faults.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { bytes, newStreamId } from "../../src/testing/contract/support.ts";
import {
  assertSurvivesCuts,
  type Case,
  eventsOf,
} from "../support/cut_everywhere.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { openSession } from "../support/migration_connection.ts";
import { startProxy } from "../support/network/proxy.ts";
import { openTestStorage } from "../support/storage.ts";

const genesis: MiniblockDescriptor = {
  number: 0n,
  data: bytes("genesis"),
  snapshot: bytes("snapshot 0"),
};
const hash = new Uint8Array(32).fill(7);

const create = (storage: PostgresStreamStorage, id: StreamId) =>
  storage.createStreamStorage(id, genesis);

function blocks(count: number, size: number): MiniblockDescriptor[] {
  return Array.from({ length: count }, (_, i) => ({
    number: BigInt(i + 1),
    data: new Uint8Array(size).fill(i + 1),
    ...(i === 0 ? { snapshot: bytes("snapshot 1") } : {}),
  }));
}

function miniblocksCase(count: number, size: number): Case {
  const given = blocks(count, size);
  const next = BigInt(count + 1);
  return {
    prepare: async (storage, id) => {
      await create(storage, id);
      await storage.writeEvent(id, 1n, 0, bytes("old"));
      await storage.writeMiniblockCandidate(id, { ...given[0]!, hash });
    },
    write: (storage, id) =>
      storage.writeMiniblocks(id, given, {
        generation: next,
        envelopes: [bytes("new 0"), bytes("new 1")],
      }, { generation: 1n, size: 1 }),
    check: async (storage, id) => {
      assert.deepEqual(await eventsOf(storage, id), ["new 0", "new 1"]);
      const { miniblocks } = await storage.readMiniblocks(id, 1n, next);
      assert.deepEqual(miniblocks, given);
      assert.equal(await storage.getMiniblockCandidateCount(id, 1n), 0);
    },
  };
}

const cases: Record<string, Case> = {
  createStreamStorage: {
    write: create,
    check: async (storage, id) => {
      const view = await storage.readStreamFromLastSnapshot(id, 0);
      assert.deepEqual(view.miniblocks, [genesis]);
    },
  },
  writeEvent: {
    prepare: create,
    write: (storage, id) => storage.writeEvent(id, 1n, 0, bytes("one")),
    check: async (storage, id) =>
      assert.deepEqual(await eventsOf(storage, id), ["one"]),
  },
  "writeEvent, several at once": {
    prepare: create,
    write: (storage, id) =>
      Promise.all(
        [0, 1, 2, 3].map((slot) =>
          storage.writeEvent(id, 1n, slot, bytes(`event ${slot}`))
        ),
      ),
    check: async (storage, id) =>
      assert.deepEqual(
        await eventsOf(storage, id),
        [0, 1, 2, 3].map((slot) => `event ${slot}`),
      ),
  },
  "writeEvent, to a cached minipool": {
    prepare: async (storage, id) => {
      await create(storage, id);
      await storage.writeEvent(id, 1n, 0, bytes("event 0"));
    },
    write: (storage, id) =>
      Promise.all(
        [1, 2].map((slot) =>
          storage.writeEvent(id, 1n, slot, bytes(`event ${slot}`))
        ),
      ),
    check: async (storage, id) =>
      assert.deepEqual(
        await eventsOf(storage, id),
        [0, 1, 2].map((slot) => `event ${slot}`),
      ),
  },
  "writeMiniblocks, small": miniblocksCase(1, 100),
  "writeMiniblocks, large": miniblocksCase(8, 20_000),
  writeMiniblockCandidate: {
    prepare: create,
    write: (storage, id) =>
      storage.writeMiniblockCandidate(id, { ...blocks(1, 10)[0]!, hash }),
    check: async (storage, id) =>
      assert.equal(await storage.getMiniblockCandidateCount(id, 1n), 1),
  },
  deleteStream: {
    prepare: create,
    write: (storage, id) => storage.deleteStream(id),
    check: (storage, id) =>
      assert.rejects(
        storage.getLastMiniblockNumber(id),
        (error) => isStreamStorageError(error, "NOT_FOUND"),
      ),
  },
  writeEphemeralMiniblock: {
    write: (storage, id) =>
      storage.writeEphemeralMiniblock(id, blocks(1, 100_000)[0]!),
    check: async (storage, id) =>
      assert.deepEqual(await storage.readEphemeralMiniblockNums(id), [1n]),
  },
  reinitializeStreamStorage: {
    prepare: create,
    write: (storage, id) =>
      storage.reinitializeStreamStorage(id, blocks(6, 100), 1n, true),
    check: async (storage, id) =>
      assert.equal(await storage.getLastMiniblockNumber(id), 6n),
  },
  trimStream: {
    prepare: async (storage, id) => {
      await create(storage, id);
      await storage.reinitializeStreamStorage(id, blocks(6, 100), 1n, true);
    },
    write: (storage, id) => storage.trimStream(id, 1n, []),
    check: async (storage, id) => {
      const [range] = await storage.getMiniblockNumberRanges(id);
      assert.equal(range?.startInclusive, 1n);
    },
  },
};

describe("A connection that is cut", () => {
  for (const [name, each] of Object.entries(cases)) {
    it(`at any message does no harm to ${name}`, () =>
      assertSurvivesCuts(each));
  }

  it("in a write leaves an unknown outcome if the server stays away", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      maxConnections: 3,
      operationTimeoutMs: 2000,
      retry: { attempts: 4, minDelayMs: 1, maxDelayMs: 10 },
    });
    const id = newStreamId();
    await test.storage.createStreamStorage(id, genesis);
    const cut = proxy.cutAt({
      side: "backend",
      nth: 1,
      when: "before",
      type: "Z",
    });
    const write = test.storage.writeEvent(id, 1n, 0, bytes("lost"));
    await cut;
    proxy.refuse(true);
    await assert.rejects(
      write,
      (error) =>
        isStreamStorageError(error, "UNAVAILABLE") &&
        error.outcome === "unknown" && error.retryable,
    );
    proxy.refuse(false);
    proxy.setRule(undefined);
    assert.deepEqual(await eventsOf(test.storage, id), ["lost"]);
  });
});

describe("Locks that another session holds", () => {
  it("delay no other stream", async () => {
    await using test = await openTestStorage();
    const { storage, schema } = test;
    const ids = Array.from({ length: 20 }, () => newStreamId());
    await Promise.all(ids.map((id) => create(storage, id)));
    // More streams than there are transaction slots and connections.
    const [held, free] = [ids.slice(0, 12), ids.slice(12)];
    await using holder = await openSession(test.url);
    await holder.script(
      `BEGIN; SELECT 1 FROM ${schema}.es
         WHERE stream_id IN ('${held.join("', '")}') FOR UPDATE`,
    );
    const write = (id: StreamId, slot: number) =>
      storage.writeEvent(id, 1n, slot, bytes("x"));
    // The first ones alone, and the rest together with others.
    const waiting: Promise<void>[] = [];
    for (const id of held.slice(0, 6)) {
      waiting.push(write(id, 0));
      await write(free[0]!, waiting.length - 1);
    }
    waiting.push(...held.slice(6).map((id) => write(id, 0)));
    let isHeld = true;
    for (const each of waiting) void each.then(() => isHeld = false);
    await Promise.all(free.slice(1).map((id) => write(id, 0)));
    // Writes that need a transaction of their own are not delayed, either.
    await storage.trimStream(free[1]!, 0n, []);
    await storage.deleteStream(free[2]!);
    assert.ok(isHeld);
    await holder.script("COMMIT");
    await Promise.all(waiting);
  });

  it("make writes fail with lock_timeout if they are never freed", async () => {
    await using test = await openTestStorage({ lockTimeoutMs: 50 });
    const { storage, schema } = test;
    const id = newStreamId();
    await create(storage, id);
    await using holder = await openSession(test.url);
    await holder.script(
      `BEGIN; SELECT 1 FROM ${schema}.es WHERE stream_id = '${id}' FOR UPDATE`,
    );
    const writes = [
      storage.writeEvent(id, 1n, 0, bytes("x")),
      storage.deleteStream(id),
    ];
    for (const write of writes) {
      await assert.rejects(
        write,
        (error) =>
          isStreamStorageError(error, "DEADLINE_EXCEEDED") &&
          error.details.reason === "lock_timeout" &&
          error.outcome === "rolled_back" && error.retryable,
      );
    }
    await holder.script("COMMIT");
    await storage.writeEvent(id, 1n, 0, bytes("x"));
  });
});
