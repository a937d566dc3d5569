/** Migrations in a Citus cluster: a schema is distributed, and stays so. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { currentVersions } from "../../src/database/migrations/numbers.ts";
import { planUp } from "../../src/database/migrations/plan.ts";
import {
  checkMigrations,
  dropSchema,
  migrate,
  migrateDown,
  printGrants,
  printPendingMigrations,
} from "../../src/database/migrations/mod.ts";
import type { Session } from "../../src/database/session.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import {
  CitusCluster,
  citusVariable,
  describeOnCluster,
} from "../support/cluster/citus_cluster.ts";
import { dumpSchema } from "../support/migrations/schema_dump.ts";
import { openSession } from "../support/migration_connection.ts";

const golden = new URL("../golden/schema_2_partitions.txt", import.meta.url);
const schemas = ["s", "plain", "roles"];

/** Tables that stayed on the coordinator; there must be none. */
const localTables = (schema: string) =>
  `SELECT c.relname FROM pg_class c
   JOIN pg_dist_schema s ON s.schemaid = c.relnamespace
   WHERE c.relnamespace = '${schema}'::regnamespace
     AND c.relkind IN ('r', 'p') AND NOT EXISTS (
       SELECT FROM pg_dist_partition p WHERE p.logicalrelid = c.oid)`;

describeOnCluster("Migrations in a Citus cluster", () => {
  let cluster: CitusCluster;
  let session: Session;

  before(async () => {
    cluster = await CitusCluster.start({ settings: { fsync: "off" } });
    await wish("on");
    session = await openSession(cluster.coordinator.url);
  });

  after(async () => {
    await session?.close();
    await cluster?.[Symbol.asyncDispose]();
  });

  const wish = (value: "on" | "off") =>
    cluster.query(
      `ALTER DATABASE postgres SET citus.enable_schema_based_sharding = ${value}`,
    );
  const up = (schema = "s") => migrate(session, { schema, partitions: 2 });
  const isDistributed = async (schema = "s") => {
    const [row] = await session.script(
      `SELECT count(*) FROM pg_dist_schema
       WHERE schemaid = to_regnamespace('${schema}')::oid`,
    );
    return row?.[0] === "1";
  };
  /** All is as on a plain server, at every name of it; no table is local. */
  const assertWhole = async (schema = "s") => {
    assert.ok(await isDistributed(schema));
    // A move leaves its copies for a while; of a table that is gone they can be
    // seen.
    await cluster.query("CALL citus_cleanup_orphaned_resources()");
    assert.deepEqual(await session.script(localTables(schema)), []);
    const wanted = (await readFile(golden, "utf8")).split("\n");
    wanted.pop();
    for (const { url } of cluster.nodes) {
      await using its = await openSession(url);
      // Citus has a trigger of its own on each table.
      const found = (await dumpSchema(its, schema))
        .filter((line) => !line.includes("citus_truncate_trigger"));
      const differs = (line: string, i: number) => line !== wanted[i];
      assert.deepEqual(found.filter(differs), []);
      assert.equal(found.length, wanted.length);
    }
    assert.deepEqual(await storageOfShards(schema), await storageOf(schema));
  };
  const storageSql = (schema: string, filter: string) =>
    `SET citus.override_table_visibility = off;
     SELECT regexp_replace(relname, '_\\d{6}$', ''), attname, attstorage,
       reloptions
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE relnamespace = '${schema}'::regnamespace AND relkind = 'r'
       AND attnum > 0 AND NOT attisdropped AND relname ${filter} '_\\d{6}$'
     ORDER BY 1, 2`;
  const storageOf = (schema: string) =>
    session.script(storageSql(schema, "!~"));
  const storageOfShards = async (schema: string) => {
    await using its = await openSession((await cluster.ownerOf(schema)).url);
    return await its.script(storageSql(schema, "~"));
  };
  const drop = async (schema: string) => {
    await dropSchema(session, schema);
    assert.equal(await isDistributed(schema), false);
  };

  it("distribute a new schema, whole", async () => {
    const report = await up();
    assert.equal(report.ownTo, currentVersions.own);
    await assertWhole();
    // Nothing is left to do, on any server.
    await up();
    for (const { url } of cluster.nodes) {
      await using its = await openSession(url);
      await checkMigrations(its, { schema: "s" });
    }
  });

  it("move with their schema, and owners hear of each other", async () => {
    for (const mode of ["force_logical", "block_writes"] as const) {
      await cluster.move("s", await cluster.otherThan("s"), mode);
      await assertWhole();
      await using owner = await openSession((await cluster.ownerOf("s")).url);
      const received = Promise.withResolvers<string>();
      owner.onNotification(({ channel, payload }) =>
        received.resolve(`${channel} ${payload}`)
      );
      await owner.script("LISTEN singlenodekey");
      await cluster.query(
        "INSERT INTO s.singlenodekey VALUES ('a', now(), 'b')",
      );
      assert.equal(await received.promise, "singlenodekey s");
      await cluster.query("DELETE FROM s.singlenodekey");
    }
  });

  // Each through all versions of its track.
  for (const to of [6, 0]) {
    it(`go down to a node's version ${to} and up again`, async () => {
      // It leaves copies, with the trigger.
      if (to === 0) await cluster.move("s", await cluster.otherThan("s"));
      await migrateDown(session, { schema: "s", to, own: 0 });
      const report = await up();
      assert.equal(report.from, to);
      await assertWhole();
    });
  }

  it("complete what a node has made and an operator distributed", async () => {
    await drop("s");
    await up();
    await migrateDown(session, { schema: "s", own: 0 });
    await session.script("DROP TABLE s.stream_storage_migrations");
    await up();
    await assertWhole();
  });

  it("go on where they were interrupted", async () => {
    const range = { from: { node: 0, own: 0 }, to: currentVersions };
    const transactions = planUp("s", range, 2)
      .flatMap((step) => step.transactions).length;
    for (const last of [3, transactions - 1]) {
      await drop("s");
      const stop = new AbortController();
      await assert.rejects(migrate(session, {
        schema: "s",
        partitions: 2,
        signal: stop.signal,
        onProgress: ({ done }) => done === last && stop.abort(),
      }));
      assert.equal(await isDistributed(), false);
      await up();
      await assertWhole();
    }
  });

  it("are printed as they are run", async () => {
    const options = { schema: "s", partitions: 2 };
    for (const to of [undefined, 6]) {
      if (to === undefined) await drop("s");
      else await migrateDown(session, { schema: "s", to, own: 0 });
      const sql = await printPendingMigrations(session, options);
      const run = promisify(execFile)(
        join(process.env[citusVariable]!, "psql"),
        ["-X", "-q", "-v", "ON_ERROR_STOP=1", cluster.coordinator.url],
        { maxBuffer: 1e7 },
      );
      run.child.stdin!.end(sql);
      await run;
      await assertWhole();
    }
  });

  it("distribute a schema that is there, and empty", async () => {
    await drop("s");
    await cluster.query("CREATE SCHEMA s");
    assert.ok(await isDistributed());
    await up();
    await assertWhole();
  });

  it("tell of tables that did not go with their schema", async () => {
    await cluster.query("DO $$ BEGIN CREATE TABLE s.stray (); END $$");
    await assert.rejects(
      checkMigrations(session, { schema: "s" }),
      (error) => {
        assert.ok(isStreamStorageError(error, "BAD_CONFIG"));
        assert.equal(error.details.reason, "cluster_local_tables");
        assert.deepEqual(error.details.tables, ["stray"]);
        return true;
      },
    );
    await cluster.query("DROP TABLE s.stray");
    await checkMigrations(session, { schema: "s" });
  });

  it("are refused by a worker node, which names the reason", async () => {
    for (const schema of ["s", "other"]) {
      await using worker = await openSession(cluster.workers[0]!.url);
      if (schema === "s") await migrateDown(session, { schema, own: 7 });
      await assert.rejects(
        migrate(worker, { schema, partitions: 2 }),
        (error) =>
          isStreamStorageError(error, "BAD_CONFIG") &&
          error.details.reason === "cluster_needs_coordinator",
      );
    }
    await up();
  });

  it("need no superuser, and grants hold on the worker", async () => {
    const roles = {
      migrateRole: "mover",
      runRole: "runner",
      readRole: "reader",
    };
    for (const role of Object.values(roles)) {
      await cluster.query(`CREATE ROLE ${role} LOGIN`);
    }
    const grant = async () => {
      await using admin = await openSession(cluster.coordinator.url);
      const sql = printGrants({ schema: "roles", ...roles });
      for (const part of sql.split("\n\n")) await admin.script(part);
    };
    await grant();
    const url = new URL(cluster.coordinator.url);
    url.username = "mover";
    await using mover = await openSession(url.href);
    await migrate(mover, { schema: "roles", partitions: 2 });
    await migrateDown(mover, { schema: "roles", to: 7, own: 0 });
    await migrate(mover, { schema: "roles", partitions: 2 });
    await grant();
    await assertWhole("roles");
    const owner = new URL((await cluster.ownerOf("roles")).url);
    owner.username = "reader";
    await using reader = await openSession(owner.href);
    await reader.script("SELECT FROM roles.es");
    await assert.rejects(reader.script("DELETE FROM roles.es"), /denied/);
  });

  describe("without the wish for it", () => {
    before(() => wish("off"));

    it("leave a schema on the coordinator", async () => {
      await using own = await openSession(cluster.coordinator.url);
      await migrate(own, { schema: "plain", partitions: 2 });
      assert.equal(await isDistributed("plain"), false);
      await cluster.query("INSERT INTO plain.es VALUES ('a', 0)");
    });

    it("leave one there that has streams, whatever is wished", async () => {
      await wish("on");
      await migrateDown(session, { schema: "plain", own: 8 });
      await up("plain");
      assert.equal(await isDistributed("plain"), false);
      await cluster.query("DELETE FROM plain.es");
      await migrateDown(session, { schema: "plain", own: 8 });
      await up("plain");
      await assertWhole("plain");
    });
  });

  it("go with their schema", async () => {
    for (const schema of schemas) await drop(schema);
  });
});
