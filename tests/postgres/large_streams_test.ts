/**
 * Work that grows with a stream's size goes in parts, on a real server. Each part
 * is a short transaction, and a part that is done stays done.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bind } from "../../src/database/statement.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { isLastMiniblock } from "../../src/postgres/sql/miniblocks.ts";
import { partitionSuffix, type StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  mediaGenesis,
  newStreamId,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { openSession } from "../support/migration_connection.ts";
import {
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";

/** More blocks than two statements remove. */
const many = 25_000;

function suffixOf({ storage }: MaintenanceStore, id: StreamId): string {
  return partitionSuffix(id, storage.partitions);
}

/** Inserts the rows of a regular stream with blocks `first` to `last`. */
async function plantMany(
  store: MaintenanceStore,
  id: StreamId,
  { first = 0, last = many }: { first?: number; last?: number } = {},
): Promise<void> {
  const suffix = suffixOf(store, id);
  await store.sql(`INSERT INTO @.es (stream_id, latest_snapshot_miniblock)
    VALUES ('${id}', ${last});
    INSERT INTO @.miniblocks_${suffix} (stream_id, seq_num, blockdata, snapshot)
    SELECT '${id}', n, 'old', 'snapshot'
    FROM generate_series(${first}, ${last}) AS n;
    INSERT INTO @.minipools_${suffix} (stream_id, generation, slot_num)
    VALUES ('${id}', ${last + 1}, -1);
    INSERT INTO @.miniblock_candidates_${suffix}
      (stream_id, seq_num, block_hash, blockdata)
    VALUES ('${id}', ${last + 1}, repeat('0', 64), 'old')`);
}

/** The stream's rows: in es, blocks, minipool, candidates and deletions. */
async function rowsOf(
  store: MaintenanceStore,
  id: StreamId,
): Promise<number[]> {
  const suffix = suffixOf(store, id);
  const tables = [
    "es",
    `miniblocks_${suffix}`,
    `minipools_${suffix}`,
    `miniblock_candidates_${suffix}`,
    "stream_storage_deletions",
  ];
  const counts = tables.map((table) =>
    `(SELECT count(*) FROM @.${table} WHERE stream_id = '${id}')`
  );
  const [row] = await store.sql(`SELECT ${counts.join(", ")}`);
  return row!.map(Number);
}

/**
 * Deletes a stream, but leaves a part of its blocks, as if the process had died:
 * another session locks the first block.
 */
async function deleteInPart(
  store: MaintenanceStore,
  id: StreamId,
): Promise<void> {
  await using holder = await openSession(store.test.url);
  await holder.script(`BEGIN; SELECT FROM
    "${store.test.schema}".miniblocks_${suffixOf(store, id)}
    WHERE stream_id = '${id}' ORDER BY seq_num LIMIT 1 FOR UPDATE`);
  await store.storage.deleteStream(id);
  await holder.script("ROLLBACK");
}

const impatient = { operationTimeoutMs: 1500, lockTimeoutMs: 100 };

/** The names of the transactions that the calls make. */
async function transactionsOf(
  storage: PostgresStreamStorage,
  body: () => Promise<unknown>,
): Promise<string[]> {
  storage.enableTxTracker();
  await body();
  const begun = storage.dumpTxTracker().filter(({ event }) =>
    event === "begin"
  );
  storage.disableTxTracker();
  return begun.map(({ name }) => name);
}

describe("The deletion of a large stream", () => {
  it("takes one short transaction, and a few for the blocks", async () => {
    await using store = await openMaintenanceStore();
    const { storage } = store;
    const [small, large] = [newStreamId(), newStreamId()];
    await storage.createStreamStorage(small, snapshotBlock(0));
    const one = await transactionsOf(
      storage,
      () => storage.deleteStream(small),
    );
    assert.deepEqual(one, ["deleteStream"]);
    await plantMany(store, large);
    const several = await transactionsOf(
      storage,
      () => storage.deleteStream(large),
    );
    assert.deepEqual(several, Array(3).fill("deleteStream"));
    assert.deepEqual(await rowsOf(store, large), [0, 0, 0, 0, 0]);
  });

  it("is done before its blocks are gone", async () => {
    await using store = await openMaintenanceStore(impatient);
    const { storage } = store;
    const id = newStreamId();
    await plantMany(store, id);
    await deleteInPart(store, id);
    const [row, blocks, ...others] = await rowsOf(store, id);
    assert.equal(row, 0);
    assert.ok(blocks! > 0 && blocks! < many, `${blocks} blocks are left`);
    assert.deepEqual(others, [0, 0, 1]);
    const calls = [
      () => storage.deleteStream(id),
      () => storage.readMiniblocks(id, 0n, 10n),
      () => storage.getMiniblockNumberRanges(id),
      () => storage.getLastMiniblockNumber(id),
      () => storage.writeEvent(id, 1n, 0, block(0).data),
    ];
    for (const call of calls) {
      await assertFails(call(), {
        code: "NOT_FOUND",
        reason: "stream_not_found",
      });
    }
    assert.deepEqual(await storage.getStreams(), []);
  });

  it("is completed by the next owner", async () => {
    await using store = await openMaintenanceStore(impatient);
    const ids = [newStreamId(), newStreamId()];
    for (const id of ids) {
      await plantMany(store, id);
      await deleteInPart(store, id);
    }
    await store.reopen({ workerConcurrency: 1, operationTimeoutMs: 5000 });
    const { details } = await store.ran("stream_remover");
    assert.equal(details?.["done"], 2);
    for (const id of ids) {
      assert.deepEqual(await rowsOf(store, id), [0, 0, 0, 0, 0]);
    }
  });

  it("continues in the background", async () => {
    await using store = await openMaintenanceStore({ workerConcurrency: 1 });
    const id = newStreamId();
    await plantMany(store, id);
    const names = await transactionsOf(store.storage, async () => {
      await store.storage.deleteStream(id);
      await store.ran("stream_remover");
    });
    assert.equal(names.filter((name) => name === "deleteStream").length, 1);
    assert.deepEqual(await rowsOf(store, id), [0, 0, 0, 0, 0]);
  });

  it("by the sweeper leaves nothing, either", async () => {
    await using store = await openMaintenanceStore();
    const id = newStreamId("media");
    await plantMany(store, id);
    await store.sql(`UPDATE @.es SET ephemeral = true`);
    const report = await store.storage.maintenance.sweepEphemeralStreams({
      ttlMs: 0,
    });
    assert.equal(report.removed, 1);
    assert.deepEqual(await rowsOf(store, id), [0, 0, 0, 0, 0]);
  });
});

const { genesis } = mediaGenesis(1);
const creations: Record<
  string,
  (storage: PostgresStreamStorage, id: StreamId) => Promise<void>
> = {
  createStreamStorage: (s, id) => s.createStreamStorage(id, block(0)),
  createEphemeralStreamStorage: (s, id) =>
    s.createEphemeralStreamStorage(id, block(0)),
  createStreamArchiveStorage: (s, id) => s.createStreamArchiveStorage(id),
  reinitializeStreamStorage: (s, id) =>
    s.reinitializeStreamStorage(id, [snapshotBlock(7)], 7n, false),
  writeEphemeralMiniblock: (s, id) => s.writeEphemeralMiniblock(id, genesis),
};

describe("What is left of a deleted stream", () => {
  for (const [name, create] of Object.entries(creations)) {
    it(`is removed and never seen by ${name}`, async () => {
      await using store = await openMaintenanceStore(impatient);
      const { storage } = store;
      const id = newStreamId();
      await plantMany(store, id, { first: 5 });
      await deleteInPart(store, id);
      await create(storage, id);
      const { miniblocks, events, miniblockCandidates } = await storage
        .debugReadStreamData(id);
      assert.ok(miniblocks.length <= 1 && events.length <= 1);
      assert.notDeepEqual(miniblocks[0]?.data, new TextEncoder().encode("old"));
      assert.deepEqual(miniblockCandidates, []);
      assert.equal((await rowsOf(store, id))[4], 0);
      await assertFails(storage.createStreamStorage(id, block(0)), {
        code: "ALREADY_EXISTS",
      });
    });
  }

  it("can't become part of a node's new stream", async () => {
    await using store = await openMaintenanceStore(impatient);
    for (const first of [0, 5]) {
      const id = newStreamId();
      await plantMany(store, id, { first });
      await deleteInPart(store, id);
      const suffix = suffixOf(store, id);
      await assert.rejects(
        store.sql(`INSERT INTO @.es (stream_id, latest_snapshot_miniblock)
          VALUES ('${id}', 0);
          INSERT INTO @.miniblocks_${suffix} (stream_id, seq_num, blockdata)
          VALUES ('${id}', 0, 'node')`),
        { sqlState: "23505" },
      );
    }
  });

  it("stays if a node has created the stream again", async () => {
    await using store = await openMaintenanceStore(impatient);
    const id = newStreamId();
    await plantMany(store, id, { first: 5 });
    await deleteInPart(store, id);
    const [, left] = await rowsOf(store, id);
    await store.sql(`INSERT INTO @.es (stream_id, latest_snapshot_miniblock)
      VALUES ('${id}', 0)`);
    await store.reopen({ workerConcurrency: 1, operationTimeoutMs: 5000 });
    await store.ran("stream_remover");
    // Only the block is gone that was added to stop nodes.
    assert.deepEqual(await rowsOf(store, id), [1, left! - 1, 0, 0, 0]);
  });

  it("is not taken for a sign that a lost rebuild was done", async () => {
    await using store = await openMaintenanceStore();
    const { storage, test } = store;
    const id = newStreamId();
    const blocks = [snapshotBlock(0), block(1)];
    await storage.reinitializeStreamStorage(id, blocks, 0n, false);
    const { partitions } = storage;
    const select = new Catalog(test.schema, partitions)
      .of(id, isLastMiniblock);
    await using session = await openSession(test.url);
    const look = async () => {
      const [{ rows }] = await session.run([
        bind(select, id, 1n, block(1).data),
      ]);
      return rows;
    };
    assert.deepEqual(await look(), [[true]]);
    await store.sql("DELETE FROM @.es");
    assert.deepEqual(await look(), []);
  });
});

describe("The removal of many blocks", () => {
  it("by trimStream goes in parts", async () => {
    await using store = await openMaintenanceStore();
    const { storage } = store;
    const id = newStreamId();
    await plantMany(store, id, { last: 2 * many });
    const listed = run(many + 1, 2 * many - 1);
    const names = await transactionsOf(
      storage,
      () => storage.trimStream(id, BigInt(many), [0n, ...listed]),
    );
    assert.equal(names.length, 5);
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), [{
      startInclusive: BigInt(many),
      endInclusive: BigInt(2 * many),
      snapshotSeqNums: [BigInt(many), BigInt(2 * many)],
    }]);
  });

  it("by trimStream has done a part if it is given up", async () => {
    await using store = await openMaintenanceStore(impatient);
    const { storage } = store;
    const id = newStreamId();
    await plantMany(store, id);
    await using holder = await openSession(store.test.url);
    await holder.script(`BEGIN; SELECT FROM
      "${store.test.schema}".miniblocks_${suffixOf(store, id)}
      WHERE stream_id = '${id}' AND seq_num = ${many - 1} FOR UPDATE`);
    await assert.rejects(storage.trimStream(id, BigInt(many), []), {
      code: "DEADLINE_EXCEEDED",
      outcome: "unknown",
      retryable: true,
    });
    await holder.script("ROLLBACK");
    const [, left] = await rowsOf(store, id);
    assert.ok(left! < many && left! > 1, `${left} blocks are left`);
    await storage.trimStream(id, BigInt(many), []);
    assert.equal((await rowsOf(store, id))[1], 1);
  });

  it("by debugDeleteMiniblocks goes in parts", async () => {
    await using store = await openMaintenanceStore();
    const id = newStreamId();
    await plantMany(store, id);
    const names = await transactionsOf(
      store.storage,
      () => store.storage.debugDeleteMiniblocks(id, 1n, BigInt(many)),
    );
    assert.equal(names.length, 3);
    assert.equal((await rowsOf(store, id))[1], 2);
  });
});
