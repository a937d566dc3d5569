/** A store on a Citus cluster some of whose servers are away. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import {
  openStreamReader,
  openStreamStorage,
  type PostgresStreamStorage,
  type StreamId,
} from "../../mod.ts";
import {
  bytes,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import {
  CitusCluster,
  describeOnCluster,
} from "../support/cluster/citus_cluster.ts";
import type { CitusNode } from "../support/cluster/citus_node.ts";
import { distributedSchema } from "../support/cluster/distributed_schema.ts";

const schema = "losses";
let cluster: CitusCluster;

const open = (node: CitusNode) =>
  openStreamStorage({
    url: node.url,
    schema,
    startupDelayMs: 0,
    operationTimeoutMs: 30_000,
    retry: { attempts: 100 },
  });

/**
 * Adds events one after another until it is told to stop; how many there are.
 */
async function writeEvents(
  storage: PostgresStreamStorage,
  streamId: StreamId,
  signal: AbortSignal,
): Promise<number> {
  let next = 0;
  while (!signal.aborted) {
    await storage.writeEvent(streamId, 1n, next, bytes(`event ${next}`));
    next++;
  }
  return next;
}

describeOnCluster("A store on a cluster", () => {
  before(async () => {
    cluster = await CitusCluster.start();
    await distributedSchema(cluster, schema, 1);
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  it("goes on without the coordinator, and opens at every worker", async () => {
    const id = newStreamId();
    await using storage = await open(cluster.coordinator);
    await storage.createStreamStorage(id, snapshotBlock(0));
    await cluster.coordinator.stop();
    await storage.writeEvent(id, 1n, 0, bytes("without it"));
    for (const [i, worker] of cluster.workers.entries()) {
      await using next = await open(worker);
      await next.writeEvent(id, 1n, i + 1, bytes("at a worker"));
      await using reader = await openStreamReader({ url: worker.url, schema });
      const read = await reader.readStreamFromLastSnapshot(id, 0);
      assert.equal(read.minipoolEnvelopes.length, i + 2);
    }
    await cluster.coordinator.restart();
  });

  it("opens by the first host of its url that answers", async () => {
    const { port } = cluster.coordinator;
    const hosts = cluster.nodes.map((node) => `127.0.0.1:${node.port}`).join();
    const url = cluster.coordinator.url.replace(`127.0.0.1:${port}`, hosts);
    const options = { url, schema, startupDelayMs: 0 };
    await (await openStreamStorage(options)).close();
    await cluster.coordinator.stop();
    {
      await using storage = await openStreamStorage(options);
      await storage.createStreamStorage(newStreamId(), snapshotBlock(0));
      await using reader = await openStreamReader({ url, schema });
      assert.ok(await reader.getStreamsNumber() > 0);
    }
    await cluster.coordinator.restart();
  });

  it("goes on without the other worker", async () => {
    const id = newStreamId();
    await using storage = await open(cluster.coordinator);
    await storage.createStreamStorage(id, snapshotBlock(0));
    const other = await cluster.otherThan(schema);
    await other.stop();
    await storage.writeEvent(id, 1n, 0, bytes("without it"));
    await using next = await open(cluster.coordinator);
    await next.writeEvent(id, 1n, 1, bytes("opened without it"));
    await other.restart();
  });

  it("keeps every acknowledged event when a standby takes its worker node's place", async () => {
    const id = newStreamId();
    await using storage = await open(cluster.coordinator);
    await storage.createStreamStorage(id, snapshotBlock(0));
    const owner = await cluster.ownerOf(schema);
    await owner.startStandby();
    const stop = new AbortController();
    const writing = writeEvents(storage, id, stop.signal);
    writing.catch(() => {});
    await owner.failOver();
    // It works there before it is told to stop.
    await storage.createStreamStorage(newStreamId(), snapshotBlock(0));
    stop.abort();
    const written = await writing;
    const read = await storage.readStreamFromLastSnapshot(id, 0);
    assert.ok(written > 0);
    assert.equal(read.minipoolEnvelopes.length, written);
    assert.equal(storage.signal.aborted, false);
    // And it can be moved from there.
    await cluster.move(schema, await cluster.otherThan(schema));
    await storage.writeEvent(id, 1n, written, bytes("moved"));
  });
});
