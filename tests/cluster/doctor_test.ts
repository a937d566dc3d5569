/**
 * The doctor on a Citus cluster: each trap is found that is made on purpose.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { doctor } from "../../src/operator/mod.ts";
import {
  CitusCluster,
  describeOnCluster,
} from "../support/cluster/citus_cluster.ts";
import type { CitusNode } from "../support/cluster/citus_node.ts";

const schema = "ward";
let cluster: CitusCluster;

const checks = ["cluster", "distribution", "owner", "dead_rows", "tables"];

/** What these checks say of it, by the coordinator, unless all is well. */
async function ills(
  node = cluster.coordinator,
  its: string | undefined = schema,
): Promise<string[]> {
  const { diagnoses } = await doctor({
    url: node.url,
    ...(its && { schema: its }),
  });
  return diagnoses
    .filter(({ check, level }) => checks.includes(check) && level !== "ok")
    .map(({ level, check, found }) => `${level} ${check}: ${found}`);
}

/** A planted fault, the doctor's result, and the repair. */
interface Trap {
  title: string;
  make: string[];
  finds: RegExp;
  mend: string[];
}

const traps: Trap[] = [
  {
    title: "a table that was made in a DO block",
    make: ["DO $$ BEGIN CREATE TABLE ward.stray (id int PRIMARY KEY); END $$"],
    finds: /^fail distribution: stray did not move with the schema/,
    mend: ["DROP TABLE ward.stray"],
  },
  {
    title: "a table without replica identity",
    make: ["ALTER TABLE ward.singlenodekey REPLICA IDENTITY DEFAULT"],
    finds: /^fail distribution: The schema can't be moved .* singlenodekey/,
    mend: ["ALTER TABLE ward.singlenodekey REPLICA IDENTITY FULL"],
  },
  {
    title: "a trigger that notifies by the name of a shard",
    make: [
      `CREATE OR REPLACE FUNCTION ward.notify_on_upsert() RETURNS trigger
       LANGUAGE plpgsql AS $$ BEGIN
         PERFORM pg_notify(TG_TABLE_NAME::text, TG_TABLE_SCHEMA::text);
         RETURN NEW;
       END $$`,
    ],
    finds: /^warn distribution: The trigger of singlenodekey notifies/,
    mend: [
      `CREATE OR REPLACE FUNCTION ward.notify_on_upsert() RETURNS trigger
       LANGUAGE plpgsql AS $$ BEGIN
         PERFORM pg_notify('singlenodekey', TG_TABLE_SCHEMA::text);
         RETURN NEW;
       END $$`,
    ],
  },
  {
    title: "sharding that is switched off",
    make: [
      "ALTER DATABASE postgres SET citus.enable_schema_based_sharding = off",
    ],
    finds: /^warn cluster: citus.enable_schema_based_sharding is off/,
    mend: [
      "ALTER DATABASE postgres SET citus.enable_schema_based_sharding = on",
    ],
  },
  {
    title: "a worker node without the catalogue",
    make: ["UPDATE pg_dist_node SET metadatasynced = false WHERE groupid = 2"],
    finds:
      /^fail cluster: 127.0.0.1:\d+ has no copy of the cluster's catalogue/,
    mend: ["UPDATE pg_dist_node SET metadatasynced = true WHERE groupid = 2"],
  },
  {
    title: "an unknown coordinator",
    make: ["SELECT citus_remove_node('127.0.0.1', PORT)"],
    finds: /^fail cluster: The worker nodes don't know the coordinator/,
    mend: ["SELECT citus_set_coordinator_host('127.0.0.1', PORT)"],
  },
];

describeOnCluster("The doctor on a cluster", () => {
  before(async () => {
    cluster = await CitusCluster.start({ settings: { fsync: "off" } });
    await cluster.query(
      "ALTER DATABASE postgres SET citus.enable_schema_based_sharding = on",
    );
    const { url } = cluster.coordinator;
    const store = { url, partitions: 1, startupDelayMs: 0 };
    await (await openStreamStorage({ ...store, schema }))
      [Symbol.asyncDispose]();
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  it("finds nothing if all is well, and names the server that shows more", async () => {
    const owner = await cluster.ownerOf(schema);
    const elsewhere = [
      `unknown dead_rows: Visible only where the schema lives, on 127.0.0.1:${owner.port}`,
      `unknown owner: Visible only where the schema lives, on 127.0.0.1:${owner.port}`,
    ];
    assert.deepEqual(await ills(), elsewhere);
    const [, ...others] = await ills(await cluster.otherThan(schema));
    assert.deepEqual(others, elsewhere);
    const [only, ...rest] = await ills(owner);
    assert.match(only!, /^unknown distribution: It lives on .* coordinator$/);
    assert.deepEqual(rest, []);
  });

  it("sees the owner of a running store where the schema lives", async () => {
    const { url } = cluster.coordinator;
    await using _ = await openStreamStorage({ url, schema, startupDelayMs: 0 });
    const owner: CitusNode = await cluster.ownerOf(schema);
    const { diagnoses } = await doctor({ url: owner.url, schema });
    const found = diagnoses.find(({ check }) => check === "owner");
    assert.equal(found?.level, "ok");
    assert.notEqual(found?.found, "Nobody");
  });

  describe("finds", () => {
    for (const { title, make, finds, mend } of traps) {
      it(title, async () => {
        const port = String(cluster.coordinator.port);
        const run = async (statements: string[]) => {
          for (const sql of statements) {
            await cluster.query(sql.replace("PORT", port));
          }
        };
        await run(make);
        const found = await ills();
        await run(mend);
        assert.equal(
          found.filter((ill) => finds.test(ill)).length,
          1,
          `${found}`,
        );
        assert.deepEqual((await ills()).filter((ill) => finds.test(ill)), []);
      });
    }

    it("a schema that is not distributed", async () => {
      await cluster.query(
        "ALTER DATABASE postgres SET citus.enable_schema_based_sharding = off",
      );
      const { url } = cluster.coordinator;
      const store = { url, partitions: 1, startupDelayMs: 0 };
      await (await openStreamStorage({ ...store, schema: "plain" }))
        [Symbol.asyncDispose]();
      const found = await ills(cluster.coordinator, "plain");
      assert.match(
        found.find((ill) => ill.includes("distribution"))!,
        /^warn distribution: Schema "plain" is not distributed/,
      );
    });
  });
});
