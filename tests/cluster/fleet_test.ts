/** What `plan-fleet` says of a cluster, held against one of three sizes. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { distribute } from "../../scripts/fleet_costs/moves.ts";
import { connectNodes } from "../../scripts/fleet_costs/nodes.ts";
import {
  added,
  type Relations,
  relationsOf,
} from "../../scripts/fleet_costs/relations.ts";
import {
  type FleetPlan,
  migrateStore,
  planFleet,
} from "../../src/operator/mod.ts";
import {
  CitusCluster,
  describeOnCluster,
} from "../support/cluster/citus_cluster.ts";

/** Stores that are added, one size after the other. */
const sizes = [
  { count: 2, partitions: 1 },
  { count: 2, partitions: 4 },
  { count: 2, partitions: 16 },
] as const;

describeOnCluster("A fleet's plan and a cluster", () => {
  let cluster: CitusCluster;
  before(async () => {
    cluster = await CitusCluster.start({ settings: { fsync: "off" } });
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  it("agree at three sizes on tables, catalogue and files", async () => {
    await using stack = new AsyncDisposableStack();
    const { url } = cluster.coordinator;
    const { first, workers } = await connectNodes(url, stack);
    const nodes = [first, ...workers];
    const empty = await Promise.all(nodes.map(relationsOf));
    for (const [i, { count, partitions }] of sizes.entries()) {
      for (let nth = 0; nth < count; nth++) {
        const schema = `of_${partitions}_${nth}`;
        await migrateStore({ url, schema, partitions });
        await distribute(first, schema);
      }
      const [coordinator, ...others] = await Promise.all(
        nodes.map(async (node, n) => added(empty[n]!, await relationsOf(node))),
      );
      const plan = planned(i + 1);
      assert.equal(coordinator!.relations, plan.coordinator!.relations);
      // The cluster puts stores on its worker nodes in turn.
      const sum = total(others);
      const shells = plan.coordinator!.relations;
      const own = plan.stores.reduce(
        (sum, { count, relations }) => sum + count * relations,
        0,
      );
      assert.equal(sum.relations, others.length * shells + own);
      const catalogue = plan.coordinator!.catalogueBytes;
      assertNear(coordinator!.catalogueBytes, catalogue);
      assertNear(
        sum.catalogueBytes,
        catalogue * (others.length + own / shells),
      );
      const files = plan.coordinator!.diskBytes - catalogue;
      assertNear(sum.bytes, files * (others.length + own / shells));
    }
  });

  it("agree on the connections that the cluster takes for itself", async () => {
    const { coordinator } = planned(sizes.length);
    for (const node of cluster.nodes) {
      const [row] = await node.query(
        `SELECT count(*)::int AS connections FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
      );
      const connections = Number(row!.connections);
      assert.ok(connections <= coordinator!.connections, String(connections));
    }
  });
});

function planned(sizesSoFar: number): FleetPlan {
  return planFleet({
    stores: sizes.slice(0, sizesSoFar).map((size) => ({
      ...size,
      streams: 0,
      eventsPerSecond: 0,
      eventBytes: 1,
      retentionDays: 0,
    })),
    worker: { memoryGB: 64, cores: 8, diskGB: 100 },
    cluster: true,
  });
}

function total(each: readonly Relations[]): Relations {
  const nothing = {
    tables: 0,
    relations: 0,
    bytes: 0,
    catalogueBytes: 0,
    files: 0,
  };
  return each.reduce((sum, its) => {
    const next = { ...sum };
    for (const key of Object.keys(next) as (keyof Relations)[]) {
      next[key] += its[key];
    }
    return next;
  }, nothing);
}

/** Files grow by pages, the catalogue by chance. */
function assertNear(measured: number, planned: number): void {
  const ratio = measured / planned;
  assert.ok(ratio > 0.6 && ratio < 1.4, `${measured}, planned ${planned}`);
}
