/** `status` and `move` on a real cluster, as an operator runs them. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import pg from "pg";
import {
  clusterStatus,
  migrateStore,
  moveStore,
  storeStatus,
} from "../../src/operator/mod.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { runCli, startCli } from "../support/cli/run.ts";
import {
  CitusCluster,
  describeOnCluster,
} from "../support/cluster/citus_cluster.ts";
import type { CitusNode } from "../support/cluster/citus_node.ts";

describeOnCluster("An operator of a cluster", () => {
  let cluster: CitusCluster;
  let url = "";
  let env: Record<string, string>;

  before(async () => {
    cluster = await CitusCluster.start({ settings: { fsync: "off" } });
    url = cluster.coordinator.url;
    env = { STREAM_STORAGE_URL: url };
    for (const schema of ["one", "two"]) {
      await migrateStore({ url, schema, partitions: 2 });
      await cluster.query(
        `SET citus.enable_unsafe_triggers = on;
        SELECT citus_schema_distribute('${schema}')`,
      );
    }
    await migrateStore({ url, schema: "plain", partitions: 2 });
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  const nameOf = ({ port }: CitusNode) => `127.0.0.1:${port}`;

  it("sees which store is where, and how large it is", async () => {
    const { workers, stores } = (await clusterStatus({ url }))!;
    assert.deepEqual(stores.map(({ schema }) => schema), ["one", "two"]);
    for (const { schema, port, bytes, tables } of stores) {
      assert.equal((await cluster.ownerOf(schema)).port, port);
      assert.ok(bytes! > 100_000n && tables > 20n);
    }
    assert.equal(workers.length, 2);
    const sum = workers.reduce((sum, { bytes }) => sum + bytes!, 0n);
    assert.equal(sum, stores.reduce((sum, { bytes }) => sum + bytes!, 0n));
    const { code, stdout } = await runCli(["status"], env);
    assert.equal(code, 0);
    for (const worker of cluster.workers) {
      assert.match(stdout, RegExp(`^${nameOf(worker)} +active +1 `, "m"));
    }
    assert.match(stdout, /On this server:\nSchema[^]*^plain /m);
  });

  it("sees the same of one store, from every server", async () => {
    const owner = await cluster.ownerOf("one");
    for (const node of cluster.nodes) {
      const status = await storeStatus({ url: node.url, schema: "one" });
      const { placement, tables, lockHolders } = status;
      assert.equal(placement?.port, owner.port);
      assert.equal(placement?.isHere, node === owner);
      assert.deepEqual(lockHolders, node === owner ? [] : undefined);
      const blocks = tables.find(({ name }) => name === "miniblocks")!;
      assert.equal(blocks.tables, 4n);
      const all = tables.reduce((sum, each) => sum + each.tables, 0n);
      assert.equal(all, placement?.tables);
      const bytes = tables.reduce(
        (sum, { tableBytes, indexBytes }) => sum + tableBytes + indexBytes,
        0n,
      );
      assert.equal(bytes, placement?.bytes);
    }
    const plain = await storeStatus({ url, schema: "plain" });
    assert.equal(plain.placement, null);
  });

  it("has a store moved, in both ways", async () => {
    for (const mode of ["logical", "block-writes"]) {
      await cluster.query("CALL citus_cleanup_orphaned_resources()");
      const target = await cluster.otherThan("one");
      const args = ["move", "one", "--to", nameOf(target), "--mode", mode];
      const { code, stdout, stderr } = await runCli(args, env);
      assert.equal(code, 0, stderr);
      assert.match(stdout, RegExp(`^"one" moved from .* to ${nameOf(target)}`));
      assert.equal(await cluster.ownerOf("one"), target);
      const again = await runCli(args, env);
      assert.equal(again.code, 2);
      assert.match(again.stderr, /already_there/);
    }
  });

  it("is refused what would leave something behind", async () => {
    const target = nameOf(await cluster.otherThan("two"));
    await cluster.query("DO $$ BEGIN CREATE TABLE two.stray (id int); END $$");
    const stray = moveStore({ url, schema: "two", to: target });
    await assert.rejects(
      stray,
      (error) =>
        isStreamStorageError(error, "FAILED_PRECONDITION") &&
        error.details.reason === "local_tables",
    );
    await cluster.query("DROP TABLE two.stray");
    await cluster.query(
      "ALTER TABLE two.singlenodekey REPLICA IDENTITY DEFAULT",
    );
    const unnamed = moveStore({ url, schema: "two", to: target });
    await assert.rejects(
      unnamed,
      (error) =>
        isStreamStorageError(error, "FAILED_PRECONDITION") &&
        error.details.reason === "no_replica_identity",
    );
    await cluster.query("ALTER TABLE two.singlenodekey REPLICA IDENTITY FULL");
    const plain = moveStore({ url, schema: "plain", to: target });
    await assert.rejects(
      plain,
      (error) =>
        isStreamStorageError(error, "BAD_CONFIG") &&
        error.details.reason === "schema_not_distributed",
    );
  });

  it("stops a move with Ctrl-C, and the store stays where it was", async () => {
    const owner = await cluster.ownerOf("two");
    const target = await cluster.otherThan("two");
    // A copy begins when the transactions of before have ended.
    const holder = new pg.Client({ connectionString: owner.url });
    await holder.connect();
    try {
      await holder.query("BEGIN");
      await holder.query("SELECT pg_current_xact_id()");
      const running = startCli(["move", "two", "--to", nameOf(target)], env);
      await cluster.coordinator.until(
        "EXISTS (SELECT FROM get_rebalance_progress() WHERE progress > 0)",
      );
      running.interrupt();
      const { code, stdout, stderr } = await running.ended;
      assert.equal(code, 130, stderr);
      assert.equal(stdout, "");
      assert.match(
        stderr,
        RegExp(`"two" is on ${nameOf(owner)}: not moved\nInterrupted\n$`),
      );
    } finally {
      await holder.end();
    }
    assert.equal(await cluster.ownerOf("two"), owner);
    await cluster.coordinator.until(
      "NOT EXISTS (SELECT FROM get_rebalance_progress())",
    );
    await cluster.query("CALL citus_cleanup_orphaned_resources()");
    const { to } = await moveStore({
      url,
      schema: "two",
      to: nameOf(target),
    });
    assert.equal(to, nameOf(target));
  });

  it("sees the others when a worker node is away", async () => {
    const [first, second] = cluster.workers;
    await ensureOn(first!, "one");
    await ensureOn(second!, "two");
    await second!.stop();
    try {
      const { code, stdout, stderr } = await runCli(["status"], env);
      assert.equal(code, 0, stderr);
      assert.match(stdout, RegExp(`^one +${nameOf(first!)} +26 +\\d`, "m"));
      assert.match(
        stdout,
        RegExp(`^two +${nameOf(second!)} +26 +not reached`, "m"),
      );
    } finally {
      await second!.restart();
    }
  });

  async function ensureOn(node: CitusNode, schema: string): Promise<void> {
    if (await cluster.ownerOf(schema) === node) return;
    await cluster.query("CALL citus_cleanup_orphaned_resources()");
    const to = nameOf(node);
    await moveStore({ url, schema, to, mode: "block-writes" });
  }
});
