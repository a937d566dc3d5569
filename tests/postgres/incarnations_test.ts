/**
 * A node deletes a stream and creates another under its id, while no store is
 * open. Nothing that the store's own tables say about the first stream may
 * affect the second. The node is played by its statements on a real server.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openStreamReader } from "../../mod.ts";
import { openS3Bucket } from "../../src/media/s3.ts";
import { partitionSuffix, type StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  legacyBlock,
  newStreamId,
  plantedStream,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import {
  firstOf,
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";
import {
  chunk,
  letNamesRest,
  mediaBlocks,
  newMediaId,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import {
  nodeDeletes,
  nodeOffloads,
  nodeRemakes,
} from "../support/node_by_hand.ts";
import type { Ground } from "../support/plant.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";

const partitions = 2;
/** At every third snapshot, a trim keeps the last block below the latest one. */
const trimming = { activationFactor: 3, historyMiniblocks: { default: 1n } };

/** The second stream's blocks: as many and as large, with other bytes. */
function others(): { number: bigint; data: Uint8Array }[] {
  return mediaBlocks().map(({ number, data }) => ({
    number,
    data: number === 0n ? data : chunk(number + 50n, data.length),
  }));
}

describe("A stream that a node has created again under an old id", () => {
  let server: S3Server;
  let store: MaintenanceStore;
  let ground: Ground;

  before(async () => {
    server = await startS3Server();
    store = await openMaintenanceStore({
      partitions,
      trimming,
      mediaStorage: onS3(server),
    });
    const { url, schema } = store.test;
    ground = { url, schema, partitions };
  });
  after(async () => {
    await store?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  /** Closes the store, lets the node act, and opens the store again. */
  async function whileNodeOwns(
    act: () => Promise<unknown>,
    options: Parameters<MaintenanceStore["reopen"]>[0] = {},
  ): Promise<void> {
    await store.storage.close();
    await act();
    await store.reopen(options);
  }

  const remake = (id: StreamId, blocks = others()) =>
    nodeRemakes(ground, id, { latestSnapshot: 0n, blocks, minipool: [] });

  async function nodePuts(id: StreamId, data: Uint8Array): Promise<void> {
    const pieces = async function* () {
      yield await Promise.resolve(data);
    };
    const name = `${ground.schema}/${id}`;
    await openS3Bucket(server.options).putObject(name, data.length, pieces());
  }

  const tasksOf = (id: StreamId) =>
    store.sql(
      `SELECT task FROM @.stream_storage_media_tasks WHERE stream_id = '${id}'`,
    );

  /** Whether the bucket has an object of the stream. */
  async function hasObject(id: StreamId): Promise<boolean> {
    const all = openS3Bucket(server.options).listObjects(
      `${ground.schema}/${id}`,
    );
    return (await Array.fromAsync(all)).length > 0;
  }

  it("does not inherit the age of the first one", async () => {
    const [again, gone] = [newStreamId("media"), newStreamId("media")];
    for (const id of [again, gone]) {
      await store.storage.writeEphemeralMiniblock(id, block(1));
    }
    await store.sql(
      "UPDATE @.stream_storage_ephemeral SET created_at = 'epoch'",
    );
    await whileNodeOwns(async () => {
      const rows = plantedStream([0n], { ephemeral: true, events: "no rows" });
      await nodeRemakes(ground, again, rows);
      await nodeDeletes(ground, gone);
    });
    const { maintenance } = store.storage;
    const dry = await maintenance.sweepEphemeralStreams({ dryRun: true });
    assert.deepEqual(dry.streamIds, []);
    const report = await maintenance.sweepEphemeralStreams();
    assert.deepEqual([report.removed, report.firstSeen], [0, 1]);
    assert.deepEqual(
      await store.sql("SELECT stream_id FROM @.stream_storage_ephemeral"),
      [[again]],
    );
    // From now on its own age counts.
    await store.sql(
      "UPDATE @.stream_storage_ephemeral SET created_at = 'epoch'",
    );
    const { streamIds } = await maintenance.sweepEphemeralStreams();
    assert.deepEqual(streamIds, [again]);
  });

  it("does not count as trimmed because the first one was", async () => {
    const [again, same] = [newStreamId("channel"), newStreamId("channel")];
    for (const id of [again, same]) {
      const blocks = run(0, 9).map((number) => snapshotBlock(number));
      await store.storage.reinitializeStreamStorage(id, blocks, 9n, false);
      await store.storage.maintenance.trimStreams({ streamId: id });
      assert.equal(await firstOf(store, id), 8n);
    }
    await whileNodeOwns(
      () =>
        nodeRemakes(
          ground,
          again,
          plantedStream(run(0, 9), { snapshots: run(0, 9) }),
        ),
      { workerConcurrency: 1, ephemeralSweepIntervalMs: 0 },
    );
    // The stream that is the same as before gets one snapshot since its trim.
    for (const id of [same, again]) {
      await store.storage.writeMiniblocks(
        id,
        [snapshotBlock(10)],
        { generation: 11n, envelopes: [] },
        { generation: 10n, size: 0 },
      );
    }
    await store.ran("stream_trimmer");
    // The trimmer may have run before the last snapshot, or after it.
    assert.notEqual(await firstOf(store, again), 0n);
    assert.equal(await firstOf(store, same), 8n);
    await store.reopen();
  });

  it("is read from object storage with its own blocks, not the first one's", async () => {
    const id = newMediaId();
    // One snapshot beside a block, and one inside a block.
    const blocks = [
      { ...mediaBlocks()[0]!, snapshot: chunk(100) },
      ...run(1, 2).map((number) => ({ number, data: chunk(number, 3000) })),
      legacyBlock(3),
    ];
    await sealMedia(store.storage, blocks, id);
    await store.storage.maintenance.offloadMedia({ streamId: id });
    const second = blocks.map(({ number, data }) => ({
      number,
      data: number === 0n ? data : chunk(number + 50n, data.length),
    }));
    await whileNodeOwns(async () => {
      await remake(id, second);
      await nodePuts(id, await nodeOffloads(ground, id, second));
    });
    const { storage } = store;
    const { url, schema } = ground;
    const mediaStorage = onS3(server);
    await using reader = await openStreamReader({ url, schema, mediaStorage });
    for (const each of [storage, reader]) {
      const { miniblocks } = await each.readMiniblocks(id, 0n, 9n);
      assert.deepEqual(miniblocks, second);
      assert.deepEqual(await each.getMiniblockNumberRanges(id), [{
        startInclusive: 0n,
        endInclusive: 3n,
        snapshotSeqNums: [],
      }]);
      assert.equal(await each.streamMiniblocksStoredLocation(id), "s3");
    }
    const report = await storage.maintenance.rehydrateMedia(id);
    assert.equal(report.rehydrated, true);
    const back = await storage.readMiniblocks(id, 0n, 9n);
    assert.deepEqual(back.miniblocks, second);
  });

  it("is not kept in the database because the first one was", async () => {
    const id = await sealMedia(store.storage);
    const { maintenance } = store.storage;
    await maintenance.offloadMedia({ streamId: id });
    await letNamesRest(store.test);
    await maintenance.rehydrateMedia(id);
    assert.deepEqual(await tasksOf(id), [["keep"]]);
    await whileNodeOwns(() => remake(id), {
      mediaStorage: onS3(server, { migrateExisting: true }),
    });
    const report = await store.storage.maintenance.offloadMedia();
    assert.equal(report.streamIds.includes(id), true);
    assert.deepEqual(await tasksOf(id), []);
    const { miniblocks } = await store.storage.readMiniblocks(id, 0n, 9n);
    assert.deepEqual(miniblocks, others());
    await store.reopen();
  });

  it("is not moved to object storage because the first one was due", async () => {
    const [again, same] = [
      await sealMedia(store.storage),
      await sealMedia(store.storage),
    ];
    assert.deepEqual(await tasksOf(again), [["offload"]]);
    await whileNodeOwns(() => remake(again));
    const { streamIds } = await store.storage.maintenance.offloadMedia();
    assert.deepEqual(streamIds, [same]);
    assert.deepEqual(await tasksOf(again), []);
    assert.equal(
      await store.storage.streamMiniblocksStoredLocation(again),
      "db",
    );
  });

  /** Deletes a stream whose object can't be deleted yet. */
  async function deletedButItsObject(): Promise<StreamId> {
    const id = await sealMedia(store.storage);
    await store.storage.maintenance.offloadMedia({ streamId: id });
    await letNamesRest(store.test);
    server.interfere = ({ method }) =>
      method === "DELETE"
        ? Promise.resolve({ status: 403, body: "<Error/>" })
        : undefined;
    await store.storage.deleteStream(id);
    server.interfere = undefined;
    assert.deepEqual(await tasksOf(id), [["delete"]]);
    return id;
  }

  it("is not taken for a rehydrated one when the first one's object is deleted", async () => {
    const id = await deletedButItsObject();
    await whileNodeOwns(() => remake(id));
    await store.storage.maintenance.offloadMedia();
    assert.deepEqual(await tasksOf(id), []);
    assert.equal(await hasObject(id), false);
    await store.reopen({
      mediaStorage: onS3(server, { migrateExisting: true }),
    });
    await letNamesRest(store.test);
    const { streamIds } = await store.storage.maintenance.offloadMedia();
    assert.equal(streamIds.includes(id), true);
    await store.reopen();
  });

  it("can be moved while the first one's object is not yet deleted", async () => {
    const id = await deletedButItsObject();
    await store.sql(`UPDATE @.stream_storage_media_tasks
      SET attempts = 3, due_at = now() + interval '1 day'`);
    await whileNodeOwns(() => remake(id), {
      mediaStorage: onS3(server, { migrateExisting: true }),
    });
    await letNamesRest(store.test);
    const { streamIds } = await store.storage.maintenance.offloadMedia();
    assert.equal(streamIds.includes(id), true);
    assert.deepEqual(await tasksOf(id), []);
    const { miniblocks } = await store.storage.readMiniblocks(id, 0n, 9n);
    assert.deepEqual(miniblocks, others());
    await store.reopen();
  });

  /** Starts the remover: it deletes a stream that is too large for one statement. */
  async function wakeRemover(): Promise<void> {
    const id = newStreamId("channel");
    const suffix = partitionSuffix(id, partitions);
    await store.sql(`INSERT INTO @.es (stream_id, latest_snapshot_miniblock)
      VALUES ('${id}', 0);
      INSERT INTO @.miniblocks_${suffix} (stream_id, seq_num, blockdata)
      SELECT '${id}', n, 'block' FROM generate_series(0, 12000) AS n`);
    await store.storage.deleteStream(id);
  }

  it("(or one that the node has only deleted) leaves none of the first one's rows", async () => {
    const { storage } = store;
    const ids = [await sealMedia(storage), await sealMedia(storage)];
    const channels = [newStreamId("channel"), newStreamId("channel")];
    const blocks = run(0, 9).map((number) => snapshotBlock(number));
    for (const id of channels) {
      await storage.reinitializeStreamStorage(id, blocks, 9n, false);
      await storage.maintenance.trimStreams({ streamId: id });
    }
    for (const id of ids) {
      await storage.maintenance.offloadMedia({ streamId: id });
    }
    const kept = [await sealMedia(storage), await sealMedia(storage)];
    await store.sql(`UPDATE @.stream_storage_media_tasks SET task = 'keep'
      WHERE stream_id IN ('${kept.join("', '")}')`);
    await whileNodeOwns(async () => {
      for (const [gone] of [ids, channels, kept]) {
        await nodeDeletes(ground, gone!);
      }
    }, { workerConcurrency: 1, ephemeralSweepIntervalMs: 0 });
    await wakeRemover();
    await store.ran("stream_remover");
    const all = [...ids, ...channels, ...kept];
    const left = (table: string) =>
      store.sql(`SELECT DISTINCT stream_id FROM @.stream_storage_${table}
        WHERE stream_id IN ('${all.join("', '")}')`);
    assert.deepEqual(await left("media_blocks"), [[ids[1]]]);
    assert.deepEqual(await left("trimming"), [[channels[1]]]);
    assert.deepEqual(await left("media_tasks"), [[kept[1]]]);
    await store.reopen();
  });

  it("keeps the object that a node gave it, and ends the first one's pending deletion", async () => {
    const id = await deletedButItsObject();
    await whileNodeOwns(async () => {
      await remake(id);
      await nodePuts(id, await nodeOffloads(ground, id, others()));
    });
    await store.sql("UPDATE @.stream_storage_media_tasks SET due_at = now()");
    await store.storage.maintenance.offloadMedia();
    assert.deepEqual(await tasksOf(id), []);
    assert.equal(await hasObject(id), true);
    const { miniblocks } = await store.storage.readMiniblocks(id, 0n, 9n);
    assert.deepEqual(miniblocks, others());
  });
});
