/** Opening a store on a Citus cluster, by any of its servers. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import {
  openStreamReader,
  openStreamStorage,
  type StreamStorageOptions,
} from "../../mod.ts";
import { migrateStore, migrateStoreDown } from "../../src/operator/mod.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
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
import { type Proxy, startProxy } from "../support/network/proxy.ts";

let cluster: CitusCluster;

const sharding = (value: "on" | "off") =>
  cluster.query(
    `ALTER DATABASE postgres SET citus.enable_schema_based_sharding = ${value}`,
  );

const options = (
  { url }: { url: string },
  schema: string,
): StreamStorageOptions => ({
  url,
  schema,
  partitions: 1,
  startupDelayMs: 0,
  operationTimeoutMs: 30_000,
});

/** A store works: what is written is read, by itself and by a reader. */
async function assertWorks(its: StreamStorageOptions): Promise<void> {
  const id = newStreamId();
  await using storage = await openStreamStorage(its);
  await storage.createStreamStorage(id, snapshotBlock(0));
  await storage.writeEvent(id, 1n, 0, bytes("event"));
  const { url, schema, clusterHosts } = its;
  await using reader = await openStreamReader({
    url: url!,
    schema,
    ...(clusterHosts && { clusterHosts }),
  });
  for (const each of [storage, reader]) {
    const { minipoolEnvelopes } = await each.readStreamFromLastSnapshot(id, 0);
    assert.equal(minipoolEnvelopes.length, 1);
  }
}

const isDistributed = async (schema: string) =>
  (await cluster.query(
    `SELECT FROM pg_dist_schema
     WHERE schemaid = to_regnamespace('${schema}')::oid`,
  )).length === 1;

describeOnCluster("A store on a cluster", () => {
  before(async () => {
    cluster = await CitusCluster.start({ settings: { fsync: "off" } });
    await sharding("on");
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  for (const name of ["coordinator", "worker_1", "worker_2"]) {
    it(`is made by its ${name}, and opened by all others`, async () => {
      const node = cluster.nodes.find((each) => each.name === name)!;
      const schema = `by_${name}`;
      await assertWorks(options(node, schema));
      assert.ok(await isDistributed(schema));
      for (const other of cluster.nodes) {
        await assertWorks({ ...options(other, schema), migrate: "check" });
      }
    });
  }

  it("is migrated down and up, whichever server is asked", async () => {
    for (const node of cluster.nodes) {
      const its = options(node, "by_coordinator");
      const down = await migrateStoreDown({ ...its, own: 7 });
      assert.equal(down.ownTo, 7);
      const { ownFrom } = await migrateStore(its);
      assert.equal(ownFrom, 7);
      await migrateStoreDown({ ...its, own: 7 });
      await assertWorks(its);
    }
  });

  it("is made by a worker node only where schemas are to be distributed", async () => {
    await sharding("off");
    const [worker] = cluster.workers as [CitusNode];
    await assert.rejects(
      openStreamStorage(options(worker, "refused")),
      (error) =>
        isStreamStorageError(error, "BAD_CONFIG") &&
        error.details.reason === "cluster_schema_not_distributed",
    );
    await assertWorks(options(cluster.coordinator, "plain"));
    assert.equal(await isDistributed("plain"), false);
    await sharding("on");
    const [row] = await cluster.query(
      "SELECT to_regnamespace('refused') AS it",
    );
    assert.equal(row?.it, null);
  });

  it("is distributed with its streams, and undistributed, by hand", async () => {
    const its = options(cluster.coordinator, "plain");
    const id = newStreamId();
    {
      await using storage = await openStreamStorage(its);
      await storage.createStreamStorage(id, snapshotBlock(0));
    }
    for (const way of ["distribute", "undistribute"]) {
      await cluster.query(
        `SET citus.enable_unsafe_triggers = on;
         SELECT citus_schema_${way}('plain')`,
      );
      assert.equal(await isDistributed("plain"), way === "distribute");
      await assertWorks(its);
      await using storage = await openStreamStorage(its);
      assert.equal(await storage.getLastMiniblockNumber(id), 0n);
    }
  });

  it("is reached where the client reaches its servers", async () => {
    await using stack = new AsyncDisposableStack();
    const proxies: Proxy[] = [];
    for (const node of cluster.nodes) {
      proxies.push(stack.use(await startProxy(node.url)));
    }
    const clusterHosts = Object.fromEntries(
      cluster.nodes.map(({ port }, i) => [
        `127.0.0.1:${port}`,
        new URL(proxies[i]!.url).host,
      ]),
    );
    const its = { ...options(proxies[0]!, "far"), clusterHosts };
    await assertWorks(its);
    const index = cluster.nodes.indexOf(await cluster.ownerOf("far"));
    assert.ok(index > 0);
    // There is no other way to its home.
    proxies[index]!.refuse(true);
    await assert.rejects(
      openStreamStorage({ ...its, operationTimeoutMs: 1000 }),
      (error) => isStreamStorageError(error, "UNAVAILABLE"),
    );
    proxies[index]!.refuse(false);
    await assertWorks(its);
  });
});
