/**
 * Schemas that move between the worker nodes of a Citus cluster while they are
 * used.
 */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { openStreamReader, openStreamStorage } from "../../mod.ts";
import { moveUnderLoad } from "../../scripts/moves/move_under_load.ts";
import {
  bytes,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { schemaLockId } from "../../src/storage/stream_id.ts";
import { aborted } from "../support/aborted.ts";
import {
  CitusCluster,
  describeOnCluster,
} from "../support/cluster/citus_cluster.ts";
import type { CitusNode } from "../support/cluster/citus_node.ts";
import { distributedSchema } from "../support/cluster/distributed_schema.ts";

const partitions = 1;
let cluster: CitusCluster;
let schemas = 0;

/** A new schema, and how to open it from a server of the cluster. */
async function madeSchema() {
  const schema = `moves_${schemas++}`;
  await distributedSchema(cluster, schema, partitions);
  const options = (node: CitusNode = cluster.coordinator) => ({
    url: node.url,
    schema,
    startupDelayMs: 0,
    workerConcurrency: 0,
    operationTimeoutMs: 30_000,
  });
  return { schema, options };
}

/** Whether the owner's lock is held on this server. */
async function isLocked(node: CitusNode, schema: string): Promise<boolean> {
  const key = BigInt.asUintN(32, schemaLockId(schema));
  const rows = await node.query(
    `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
       AND objid::int8 = ${key}`,
  );
  return rows.length > 0;
}

async function untilLocked(node: CitusNode, schema: string): Promise<void> {
  while (!await isLocked(node, schema));
}

describeOnCluster("A schema that moves", () => {
  before(async () => {
    cluster = await CitusCluster.start();
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  it("loses nothing under load, in both ways of moving", async () => {
    const { schema } = await madeSchema();
    const { lost, failures, moves, acknowledged } = await moveUnderLoad(
      cluster,
      { schema, moves: 4, writers: 8, rest: 100 },
    );
    assert.deepEqual([lost, failures], [[], []]);
    assert.equal(moves.length, 4);
    assert.ok(acknowledged > 0);
  });

  it("is followed by a store and a reader that were idle meanwhile", async () => {
    const { schema, options } = await madeSchema();
    await using storage = await openStreamStorage(options());
    const { url } = cluster.coordinator;
    await using reader = await openStreamReader({ url, schema });
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    await storage.writeEvent(id, 1n, 0, bytes("before"));
    assert.equal(await reader.getStreamsNumber(), 1);
    const from = await cluster.ownerOf(schema);
    const to = await cluster.otherThan(schema);
    await cluster.move(schema, to);
    await storage.writeEvent(id, 1n, 1, bytes("after"));
    for (const each of [storage, reader]) {
      const read = await each.readStreamFromLastSnapshot(id, 0);
      assert.equal(read.minipoolEnvelopes.length, 2);
    }
    await untilLocked(to, schema);
    assert.equal(await isLocked(from, schema), false);
    assert.equal(storage.signal.aborted, false);
  });

  it("is found by its owner's beat, which calls nothing", async () => {
    const { schema, options } = await madeSchema();
    await using storage = await openStreamStorage(options());
    const to = await cluster.otherThan(schema);
    await cluster.move(schema, to);
    await untilLocked(to, schema);
    assert.equal(storage.signal.aborted, false);
  });

  it("is taken over where it is now, from an owner that has not noticed", async () => {
    const { schema, options } = await madeSchema();
    await using first = await openStreamStorage(options());
    const id = newStreamId();
    await first.createStreamStorage(id, snapshotBlock(0));
    await cluster.move(schema, await cluster.otherThan(schema));
    await using second = await openStreamStorage(options(cluster.workers[0]));
    await second.writeEvent(id, 1n, 0, bytes("second"));
    await aborted(first.signal);
    assert.equal(first.signal.reason.details.reason, "ownership_lost");
    await assert.rejects(first.writeEvent(id, 1n, 1, bytes("first")), {
      code: "RESOURCE_EXHAUSTED",
    });
  });

  it("is handed over to one that stood by while it moved", async () => {
    const { schema, options } = await madeSchema();
    const first = await openStreamStorage(options());
    const waiting = openStreamStorage({ ...options(), whenOwned: "wait" });
    waiting.catch(() => {});
    await cluster.move(schema, await cluster.otherThan(schema));
    const id = newStreamId();
    await first.createStreamStorage(id, snapshotBlock(0));
    await untilLocked(await cluster.ownerOf(schema), schema);
    assert.equal(first.signal.aborted, false);
    await first.close();
    await using second = await waiting;
    await second.writeEvent(id, 1n, 0, bytes("second"));
  });

  it("gets its owner's row removed, wherever the owner is when it closes", async () => {
    const { schema, options } = await madeSchema();
    const storage = await openStreamStorage(options());
    await cluster.move(schema, await cluster.otherThan(schema));
    await storage.close();
    const rows = await cluster.query(`SELECT FROM ${schema}.singlenodekey`);
    assert.equal(rows.length, 0);
  });

  it("is no place for isolation levels that see less than was committed", async () => {
    const { options } = await madeSchema();
    await assert.rejects(
      openStreamStorage({ ...options(), isolationLevel: "serializable" }),
      (error: Error & { details?: { reason?: string } }) =>
        error.details?.reason === "cluster_isolation_level",
    );
  });
});
