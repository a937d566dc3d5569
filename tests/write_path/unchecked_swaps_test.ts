/**
 * Swaps of a minipool that is cached as contiguous, which read none of it, and
 * everything that must prevent that, on a real server.
 * src/postgres/write_path/minipool_cache.ts says what and why.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
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

const event = (slot: number) => bytes(`event ${slot}`);

describe("A swap of a minipool that is cached as contiguous", () => {
  let proxy: Proxy;
  let test: TestStreamStorage;
  let storage: PostgresStreamStorage;
  let session: Session;
  let binds: BindCounts<"unchecked" | "checked" | "candidate">;
  let schema: string;

  before(async () => {
    proxy = await startProxy(await testDatabaseUrl());
    test = await openTestStorage({ url: proxy.url, partitions: 1 });
    ({ storage } = test);
    schema = `"${test.schema}"`;
    session = await openSession(await testDatabaseUrl());
    binds = new BindCounts(proxy, {
      unchecked: "VALUES ($1, $2, $3, NULL)",
      checked: "WITH due AS MATERIALIZED",
      candidate: "VALUES ($1, $2, $3, $4, $5)",
    });
  });
  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
    await proxy.close();
  });
  beforeEach(() => binds.reset());

  /** Adds block `number` in place of so many events, of which some are left. */
  const swap = (
    id: StreamId,
    number: number,
    { size, left = 0 }: { size?: number; left?: number } = {},
  ) =>
    storage.writeMiniblocks(id, [block(number)], {
      generation: BigInt(number + 1),
      envelopes: Array.from({ length: left }, (_, slot) => event(slot)),
    }, {
      generation: BigInt(number),
      ...(size === undefined ? {} : { size }),
    });

  /** Makes a stream in generation 2, with an event that the first swap left. */
  async function contiguousStream(): Promise<StreamId> {
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    await storage.writeEvent(id, 1n, 0, event(0));
    await swap(id, 1, { size: 1, left: 1 });
    binds.reset();
    return id;
  }

  /** Writes to the stream as another writer, which also locks its row first. */
  const foreign = (id: StreamId, sql: string) =>
    session.script(
      `BEGIN;
       SELECT 1 FROM ${schema}.es WHERE stream_id = '${id}' FOR UPDATE;
       ${sql}; COMMIT`,
    );

  async function assertStored(
    id: StreamId,
    { blocks, events }: { blocks: number; events: number },
  ): Promise<void> {
    const read = await storage.readStreamFromLastSnapshot(id, 0);
    assert.deepEqual(
      read.miniblocks.map(({ number }) => number),
      Array.from({ length: blocks }, (_, number) => BigInt(number)),
    );
    assert.deepEqual(
      read.minipoolEnvelopes,
      Array.from({ length: events }, (_, slot) => event(slot)),
    );
    await assertInvariants(session, { schema: test.schema, partitions: 1 });
  }

  it("reads nothing, from the second on, with events in between", async () => {
    const id = await contiguousStream();
    await storage.writeEvent(id, 2n, 1, event(1));
    await swap(id, 2, { size: 2, left: 3 });
    await swap(id, 3, { left: 1 });
    await storage.writeEvent(id, 4n, 1, event(1));
    await swap(id, 4, { size: 2 });
    await swap(id, 5, { size: 0, left: 2 });
    assert.deepEqual([binds.of("unchecked"), binds.of("checked")], [4, 0]);
    await assertStored(id, { blocks: 6, events: 2 });
  });

  it("reads nothing after a candidate, and removes it", async () => {
    const id = await contiguousStream();
    const due = candidate(2);
    const later = candidate(3);
    await storage.writeMiniblockCandidate(id, due);
    await storage.writeMiniblockCandidate(id, later);
    await swap(id, 2, { size: 1 });
    assert.equal(binds.of("unchecked"), 1);
    assert.equal(await storage.getMiniblockCandidateCount(id, 2n), 0);
    assert.equal(await storage.getMiniblockCandidateCount(id, 3n), 1);
  });

  it("is preceded by unchecked candidates, of which those below it are refused", async () => {
    const id = await contiguousStream();
    await storage.writeMiniblockCandidate(id, candidate(2));
    await storage.writeMiniblockCandidate(id, candidate(4));
    assert.equal(binds.of("candidate"), 2);
    await assertFails(storage.writeMiniblockCandidate(id, candidate(1)), {
      code: "MINIBLOCKS_STORAGE_FAILURE",
    });
    await assertFails(storage.writeMiniblockCandidate(id, candidate(2)), {
      code: "ALREADY_EXISTS",
    });
    await storage.deleteStream(id);
  });

  it("is preceded by no candidate whose block a foreign writer has added", async () => {
    const id = await contiguousStream();
    await foreign(
      id,
      `INSERT INTO ${schema}.miniblocks_r00 (stream_id, seq_num, blockdata)
        VALUES ('${id}', 2, 'x')`,
    );
    await assertFails(storage.writeMiniblockCandidate(id, candidate(2)), {
      code: "MINIBLOCKS_STORAGE_FAILURE",
    });
    await storage.deleteStream(id);
  });

  it("reads nothing, for many streams at once", async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, contiguousStream));
    binds.reset();
    await Promise.all(ids.map((id) => swap(id, 2, { size: 1, left: 1 })));
    assert.deepEqual([binds.of("unchecked"), binds.of("checked")], [20, 0]);
    for (const id of ids) await assertStored(id, { blocks: 3, events: 1 });
  });

  it("is checked if the store has seen only the ends of the minipool", async () => {
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    for (const slot of [0, 1]) {
      await storage.writeEvent(id, 1n, slot, event(slot));
    }
    await foreign(
      id,
      `DELETE FROM ${schema}.minipools_r00
        WHERE stream_id = '${id}' AND slot_num = 0`,
    );
    // The minipool is in the cache again, but has a hole.
    await storage.writeEvent(id, 1n, 2, event(2));
    await storage.writeEvent(id, 1n, 3, event(3));
    await assertFails(swap(id, 1, { size: 4 }), { code: "INTERNAL" });
    assert.equal(binds.of("unchecked"), 0);
    await storage.deleteStream(id);
  });

  it("is checked if it has a snapshot, or several blocks", async () => {
    const id = await contiguousStream();
    await storage.writeMiniblocks(id, [block(2), block(3)], {
      generation: 4n,
      envelopes: [event(0)],
    }, { generation: 2n, size: 1 });
    await storage.writeMiniblocks(id, [snapshotBlock(4)], {
      generation: 5n,
      envelopes: [],
    }, { generation: 4n, size: 1 });
    assert.deepEqual([binds.of("unchecked"), binds.of("checked")], [0, 2]);
    // The snapshot has written the stream's row, so the cached lock is gone.
    await swap(id, 5, { size: 0, left: 1 });
    await swap(id, 6, { size: 1, left: 1 });
    assert.deepEqual([binds.of("unchecked"), binds.of("checked")], [1, 3]);
  });

  it("is refused with a wrong size or generation, and the next is not", async () => {
    for (
      const [number, size, reason] of [
        [2, 2, "minipool_size_mismatch"],
        [3, 1, "last_miniblock_mismatch"],
        [1, 1, "last_miniblock_mismatch"],
      ] as const
    ) {
      const id = await contiguousStream();
      await assertFails(swap(id, number, { size }), {
        code: "INTERNAL",
        reason,
      });
      assert.equal(binds.of("unchecked"), 0);
      await swap(id, 2, { size: 1, left: 1 });
      await assertStored(id, { blocks: 3, events: 1 });
    }
  });

  const changes: [name: string, sql: (id: StreamId) => string][] = [
    [
      "added an event",
      (id) => `INSERT INTO ${schema}.minipools_r00 VALUES ('${id}', 2, 1, 'e')`,
    ],
    ["removed an event", (id) =>
      `DELETE FROM ${schema}.minipools_r00
        WHERE stream_id = '${id}' AND slot_num = 0`],
    [
      "added a block",
      (id) => `INSERT INTO ${schema}.miniblocks_r00 VALUES ('${id}', 2, 'b')`,
    ],
    ["removed a block", (id) =>
      `DELETE FROM ${schema}.miniblocks_r00
        WHERE stream_id = '${id}' AND seq_num = 1`],
    [
      "made the stream ephemeral",
      (id) =>
        `UPDATE ${schema}.es SET ephemeral = true WHERE stream_id = '${id}'`,
    ],
    [
      "moved the stream's blocks",
      (id) =>
        `UPDATE ${schema}.es SET blockdata_ext = 'S' WHERE stream_id = '${id}'`,
    ],
    [
      "deleted the stream",
      (id) =>
        `DELETE FROM ${schema}.minipools_r00 WHERE stream_id = '${id}';
       DELETE FROM ${schema}.miniblocks_r00 WHERE stream_id = '${id}';
       DELETE FROM ${schema}.es WHERE stream_id = '${id}'`,
    ],
  ];
  for (const [name, sql] of changes) {
    it(`is checked, and refused, after a foreign writer ${name}`, async () => {
      const id = await contiguousStream();
      await foreign(id, sql(id));
      const rows = `SELECT
        (SELECT count(*) FROM ${schema}.minipools_r00 WHERE stream_id = '${id}'),
        (SELECT count(*) FROM ${schema}.miniblocks_r00 WHERE stream_id = '${id}')`;
      const before = await session.script(rows);
      await assert.rejects(swap(id, 2, { size: 1 }));
      assert.ok(binds.of("checked") > 0);
      assert.deepEqual(await session.script(rows), before);
      // The other tests check all rows, and must not find the broken ones.
      await foreign(id, changes.at(-1)![1](id));
    });
  }
});
