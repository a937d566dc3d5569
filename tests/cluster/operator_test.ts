/**
 * What an operator reads and writes of a store whose schema is on a worker
 * node.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { openStreamStorage, type StreamId } from "../../mod.ts";
import {
  copyStreams,
  diffStreams,
  exportStreams,
  importStreams,
  inspectStream,
  listBlocks,
  listStreams,
  mediaStatus,
  simulateTrimming,
  storeUsage,
  verify,
  watchStore,
} from "../../src/operator/mod.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import {
  block,
  bytes,
  candidate,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import {
  CitusCluster,
  describeOnCluster,
} from "../support/cluster/citus_cluster.ts";
import { distributedSchema } from "../support/cluster/distributed_schema.ts";
import { testSession } from "../support/sessions.ts";

const partitions = 2;
const streams = 6;
let cluster: CitusCluster;
let directory: string;

/**
 * A store of the same kind on the coordinator, whose schema is no one's but its
 * own.
 */
async function plainStore(schema: string) {
  const { url } = cluster.coordinator;
  const options = { url, schema, partitions, startupDelayMs: 0 };
  await (await openStreamStorage(options)).close();
  return options;
}

describeOnCluster("An operator of a store on a cluster", () => {
  const schema = "operated";
  const place = () => ({ url: cluster.coordinator.url, schema });
  const owned = () => ({ ...place(), startupDelayMs: 0 });

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "stream-storage-cluster-"));
    cluster = await CitusCluster.start();
    await distributedSchema(cluster, schema, partitions);
    await using storage = await openStreamStorage(owned());
    for (let i = 0; i < streams; i++) {
      const id = newStreamId();
      await storage.createStreamStorage(id, snapshotBlock(0));
      await storage.writeMiniblocks(
        id,
        [block(1), snapshotBlock(2)],
        { generation: 3n, envelopes: [bytes("event")] },
        { generation: 1n, size: 0 },
      );
      await storage.writeMiniblockCandidate(id, candidate(3, "proposed"));
    }
  });

  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  it("finds nothing wrong, from every server", async () => {
    for (const { url } of cluster.nodes) {
      const found = verify({ url, schema, level: "deep" });
      assert.deepEqual(await Array.fromAsync(found), []);
    }
  });

  it("reads what there is", async () => {
    const listed = (await Array.fromAsync(listStreams(place()))).flat();
    assert.equal(listed.length, streams);
    const [{ streamId }] = listed as [typeof listed[0]];
    const { blocks } = await inspectStream({ ...place(), streamId });
    assert.equal(blocks, 3n);
    const read = await Array.fromAsync(listBlocks({ ...place(), streamId }));
    assert.equal(read.flat().length, 3);
    const { types } = await storeUsage(place());
    assert.equal(types[0]?.events, streams);
    assert.deepEqual((await mediaStatus(place())).streams, []);
    const trimming = { historyMiniblocks: { default: 1n } };
    const simulated = await simulateTrimming({ ...place(), trimming });
    assert.equal(simulated.streams, streams);
  });

  it("watches the partitions that are written to", async () => {
    await using storage = await openStreamStorage(owned());
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    let slot = 0;
    for await (const look of watchStore({ ...place(), intervalMs: 300 })) {
      assert.ok(!("lost" in look));
      assert.equal(look.isLocked, true);
      const [hottest] = look.partitions;
      if (hottest !== undefined && look.streams.length > 0) {
        assert.match(hottest.partition, /^[rm][0-9a-f]{2}$/);
        assert.equal(look.streams[0]?.streamId, id);
        return;
      }
      for (const until = slot + 50; slot < until; slot++) {
        await storage.writeEvent(id, 1n, slot, bytes("hot"));
      }
    }
  });

  it("keeps writers from the one partition whose shard it locks", async () => {
    await using storage = await openStreamStorage(owned());
    const catalog = new Catalog(schema, partitions);
    const suffixOf = (id: StreamId) => catalog.tablesOf(id).suffix;
    const ids = Array.from({ length: 24 }, () => newStreamId());
    for (const id of ids) {
      await storage.createStreamStorage(id, snapshotBlock(0));
    }
    const suffix = suffixOf(ids[0]!);
    const free = ids.find((id) => suffixOf(id) !== suffix)!;
    const locked = ids.filter((id) => suffixOf(id) === suffix);
    const { url } = await cluster.ownerOf(schema);
    await using session = await testSession({ url });
    await session.script(
      `SET citus.override_table_visibility = off;
       SET citus.enable_manual_changes_to_shards = on`,
    );
    const [[shard]] = await session.script(
      `SELECT relname FROM pg_class WHERE relname ~ '^minipools_${suffix}_'
         AND relkind = 'r' AND relnamespace = '${schema}'::regnamespace`,
    ) as [[string]];
    await session.script(`BEGIN; LOCK TABLE ${schema}.${shard}`);
    const held = Promise.all(
      locked.map((id) => storage.writeEvent(id, 1n, 0, bytes("held up"))),
    );
    // They are set aside: nobody waits for the lock on the server any more, as
    // those do who believe that they met a locked row, and try again.
    let [slot, calm] = [0, 0];
    while (calm < 50) {
      await storage.writeEvent(free, 1n, slot++, bytes("free"));
      const waiting = await session.script(
        `SELECT FROM pg_locks WHERE NOT granted
           AND relation = '${schema}.${shard}'::regclass`,
      );
      calm = waiting.length === 0 ? calm + 1 : 0;
    }
    await session.script("COMMIT");
    await held;
  });

  it("moves streams to a plain store and back", async () => {
    const file = join(directory, "streams");
    const { streams: exported } = await exportStreams({ ...place(), file });
    const plain = await plainStore("plain");
    const { written } = await importStreams({ ...plain, file });
    assert.equal(written, exported);
    const right = { url: plain.url, schema: plain.schema };
    assert.equal((await diffStreams({ left: place(), right })).different, 0);
    const again = await importStreams({
      ...owned(),
      file,
      existing: "replace",
    });
    assert.equal(again.written, exported);
    const { equal } = await copyStreams({ from: right, to: owned() });
    assert.equal(equal, exported);
  });
});
