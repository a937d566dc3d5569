/** The tests' own Citus cluster: it is there, it moves, it fails over. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import {
  CitusCluster,
  describeOnCluster,
} from "../support/cluster/citus_cluster.ts";

describeOnCluster("A Citus cluster", () => {
  let cluster: CitusCluster;

  before(async () => {
    cluster = await CitusCluster.start();
    await cluster.query(
      `CREATE SCHEMA moved;
       CREATE TABLE moved.one (id int PRIMARY KEY);
       INSERT INTO moved.one VALUES (1)`,
    );
    await cluster.query("SELECT citus_schema_distribute('moved')");
  });

  after(() => cluster?.[Symbol.asyncDispose]());

  it("has a schema on one worker node, and moves it", async () => {
    const other = await cluster.otherThan("moved");
    await cluster.move("moved", other);
    assert.equal(await cluster.ownerOf("moved"), other);
    for (const node of cluster.nodes) {
      assert.deepEqual(await node.query("SELECT * FROM moved.one"), [{
        id: 1,
      }]);
    }
  });

  it("has a standby in a worker node's place", async () => {
    const owner = await cluster.ownerOf("moved");
    await owner.startStandby();
    await cluster.query("INSERT INTO moved.one VALUES (2)");
    await owner.failOver();
    assert.deepEqual(
      await cluster.query("SELECT * FROM moved.one ORDER BY id"),
      [{ id: 1 }, { id: 2 }],
    );
    await cluster.query("INSERT INTO moved.one VALUES (3)");
  });
});
