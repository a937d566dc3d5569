/**
 * Migrations of schemas that hold data, on a real server: the data stays, or a
 * refusal names the loss. A node's statements run on our schema.
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { once } from "node:events";
import { EventEmitter } from "node:events";
import { ownMigrations } from "../../src/database/migrations/versions.ts";
import {
  checkMigrations,
  migrateDown,
} from "../../src/database/migrations/mod.ts";
import type { Notification } from "../../src/database/session.ts";
import { bind, copyIn, statement } from "../../src/database/statement.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { openSession } from "../support/migration_connection.ts";
import {
  type MigrationFixture,
  ownTables,
  withMigrationSchema,
} from "../support/migrations/schema.ts";
import { dumpSchema } from "../support/migrations/schema_dump.ts";

const regular = "10".repeat(32);
const media = "ff".repeat(32);
const hash = "ab".repeat(32);

function isFailure(code: string, reason: string): (e: unknown) => boolean {
  return (error) => {
    assert.ok(isStreamStorageError(error), String(error));
    assert.deepEqual([error.code, error.details.reason], [code, reason]);
    return true;
  };
}

/** Inserts rows as a node at version 6 has them. */
async function insertData({ sql }: MigrationFixture): Promise<void> {
  await sql(`
    INSERT INTO @.es (stream_id, latest_snapshot_miniblock, migrated)
      VALUES ('${regular}', 1, true), ('${media}', 0, true);
    INSERT INTO @.miniblocks_r01 (stream_id, seq_num, blockdata)
      VALUES ('${regular}', 0, '\\x00'), ('${regular}', 1, '\\x01');
    INSERT INTO @.miniblocks_m00 (stream_id, seq_num, blockdata)
      VALUES ('${media}', 0, repeat('x', 100000)::bytea);
    INSERT INTO @.minipools_r01 (stream_id, generation, slot_num, envelope)
      VALUES ('${regular}', 2, -1, NULL), ('${regular}', 2, 0, '\\x0203');
    INSERT INTO @.miniblock_candidates_r01
      (stream_id, seq_num, block_hash, blockdata)
      VALUES ('${regular}', 2, '${hash}', '\\x04');
    INSERT INTO @.singlenodekey (uuid, storage_connection_time, info)
      VALUES ('u', '2020-01-01', 'i')`);
}

/** Reads the same rows as a node at version 6 does. */
async function readData({ sql }: MigrationFixture): Promise<unknown> {
  const queries = [
    "SELECT stream_id, latest_snapshot_miniblock, migrated FROM @.es ORDER BY 1",
    "SELECT seq_num, blockdata FROM @.miniblocks_r01 ORDER BY 1",
    "SELECT seq_num, md5(blockdata) FROM @.miniblocks_m00",
    "SELECT generation, slot_num, envelope FROM @.minipools_r01 ORDER BY 2",
    "SELECT seq_num, block_hash, blockdata FROM @.miniblock_candidates_r01",
    "SELECT uuid, storage_connection_time, info FROM @.singlenodekey",
  ];
  const results = [];
  for (const query of queries) results.push(await sql(query));
  return results;
}

describe("migrate", () => {
  for (const version of [6, 7, 8]) {
    it(`goes from ${version} to 9 and back with data intact`, () =>
      withMigrationSchema(async (fixture) => {
        const { session, schema, up, sql } = fixture;
        await up();
        const fresh = await dumpSchema(session, schema);
        await migrateDown(session, { schema, to: version });
        await insertData(fixture);
        const before = await readData(fixture);
        const report = await up();
        assert.equal(report.from, version);
        assert.deepEqual(await readData(fixture), before);
        assert.deepEqual(await dumpSchema(session, schema), fresh);
        const added = await sql(`SELECT DISTINCT ephemeral, blockdata_ext
          FROM @.es`);
        assert.deepEqual(added, [["f", "D"]]);
        // The way back is open, because no row needs a later version.
        await migrateDown(session, { schema, to: 6 });
        assert.deepEqual(await readData(fixture), before);
        assert.deepEqual((await up()).appliedVersions, [7, 8, 9]);
      }));
  }

  it("takes a node's database, of which a set of partitions is unused", () =>
    withMigrationSchema(async (fixture) => {
      const { session, schema, up, sql } = fixture;
      await up({ partitions: 3 });
      // An old node with 2 partitions has the tables of a third one, too.
      await sql("UPDATE @.settings SET num_partitions = 2");
      await migrateDown(session, { schema, to: 6 });
      await sql(`DROP TABLE ${ownTables.join(", ")};
        DROP TABLE @.stream_storage_migrations;
        DROP TABLE @.miniblocks_ext_m02`);
      await insertData(fixture);
      const before = await readData(fixture);
      const report = await up();
      assert.deepEqual([report.from, report.to, report.partitions], [6, 9, 2]);
      assert.deepEqual(await readData(fixture), before);
      await checkMigrations(session, { schema });
      await migrateDown(session, { schema, to: 0, allowDataLoss: true });
      const left = (await dumpSchema(session, schema))
        .filter((line) => line.startsWith("relation"));
      assert.deepEqual(left, [
        "relation schema_migrations kind r",
        "relation stream_storage_migrations kind r",
      ]);
    }));
});

describe("migrateDown", () => {
  const losses: [to: number, change: string][] = [
    [8, `UPDATE @.es SET blockdata_ext = 'S' WHERE stream_id = '${media}'`],
    [8, `INSERT INTO @.miniblocks_ext_m01 VALUES ('${media}', 0, 0, 1)`],
    [7, `UPDATE @.miniblocks_r01 SET snapshot = '\\x01'`],
    [7, `UPDATE @.miniblock_candidates_r01 SET snapshot = '\\x01'`],
    [6, `UPDATE @.es SET ephemeral = true`],
    [0, `DELETE FROM @.es`],
  ];
  for (const [to, change] of losses) {
    it(`refuses to go to ${to} and lose data of ${change.slice(0, 60)}`, () =>
      withMigrationSchema(async (fixture) => {
        const { session, schema, up, sql } = fixture;
        await up();
        await insertData(fixture);
        await sql(`UPDATE @.miniblocks_r01 SET snapshot = ''`);
        if (to > 0) await migrateDown(session, { schema, to });
        await up();
        await sql(change);
        const before = await dumpSchema(session, schema);
        await assert.rejects(
          migrateDown(session, { schema, to }),
          isFailure("FAILED_PRECONDITION", "data_loss"),
        );
        assert.deepEqual(await dumpSchema(session, schema), before);
        const options = { schema, to, allowDataLoss: true };
        const report = await migrateDown(session, options);
        assert.equal(report.to, to);
      }));
  }

  it("undoes our own versions, for older releases, and leaves a node's", () =>
    withMigrationSchema(async (fixture) => {
      const { session, schema, up } = fixture;
      await up();
      await insertData(fixture);
      const [fresh, before] = [
        await dumpSchema(session, schema),
        await readData(fixture),
      ];
      for (const { version } of ownMigrations.toReversed()) {
        const own = version - 1;
        const report = await migrateDown(session, { schema, own });
        assert.deepEqual([report.to, report.ownTo], [9, own]);
        await assert.rejects(
          checkMigrations(session, { schema }),
          isFailure("BAD_CONFIG", "schema_not_current"),
        );
      }
      assert.deepEqual(await readData(fixture), before);
      await up();
      assert.deepEqual(await readData(fixture), before);
      assert.deepEqual(await dumpSchema(session, schema), fresh);
    }));

  it("refuses to undo one of our own versions and lose data", () =>
    withMigrationSchema(async ({ session, schema, up, sql }) => {
      await up();
      await sql(`INSERT INTO @.stream_storage_deletions (stream_id)
        VALUES ('${media}')`);
      await assert.rejects(
        migrateDown(session, { schema, own: 6 }),
        isFailure("FAILED_PRECONDITION", "data_loss"),
      );
      await migrateDown(session, { schema, own: 6, allowDataLoss: true });
    }));

  it("leaves an older release no rows of streams that a node created again", () =>
    withMigrationSchema(async ({ session, schema, up, sql }) => {
      await up();
      const rows: [table: string, columns: string, values: string][] = [
        ["ephemeral", "", ""],
        ["trimming", ", snapshot", ", 1"],
        [
          "media_blocks",
          ", seq_num, sha256, holds_snapshot",
          ", 0, '\\x00', false",
        ],
        ["media_tasks", ", task", ", 'keep'"],
      ];
      const insertStream = (id: string) =>
        sql(`INSERT INTO @.es (stream_id, latest_snapshot_miniblock)
          VALUES ('${id}', 0)`);
      for (const id of [regular, media]) {
        await insertStream(id);
        for (const [table, columns, values] of rows) {
          await sql(`INSERT INTO @.stream_storage_${table}
              (stream_id, incarnation${columns})
            SELECT stream_id, stream_storage_incarnation${values}
            FROM @.es WHERE stream_id = '${id}'`);
        }
      }
      // A node's other changes leave the stream the same incarnation.
      await sql(`UPDATE @.es SET latest_snapshot_miniblock = 1, ephemeral = true
        WHERE stream_id = '${regular}'`);
      await sql(`DELETE FROM @.es WHERE stream_id = '${media}'`);
      await insertStream(media);
      await migrateDown(session, { schema, own: 7 });
      for (const [table] of rows) {
        const left = `SELECT stream_id FROM @.stream_storage_${table}`;
        assert.deepEqual(await sql(left), [[regular]], table);
      }
      await up();
      const incarnations = "SELECT stream_storage_incarnation FROM @.es";
      assert.deepEqual(await sql(incarnations), [[null], [null]]);
    }));

  it("refuses versions that do not exist", () =>
    withMigrationSchema(async ({ session, schema, up }) => {
      await up();
      for (const to of [-1, 5, 10, 6.5]) {
        await assert.rejects(
          migrateDown(session, { schema, to }),
          isFailure("INVALID_ARGUMENT", "bad_version"),
        );
      }
      for (const own of [-1, 1.5, ownMigrations.length + 1, NaN]) {
        await assert.rejects(
          migrateDown(session, { schema, own }),
          isFailure("INVALID_ARGUMENT", "bad_version"),
        );
      }
      await assert.rejects(
        migrateDown(session, { schema, to: 0, own: 1 }),
        isFailure("INVALID_ARGUMENT", "bad_version"),
      );
      const report = await migrateDown(session, { schema, to: 9 });
      assert.deepEqual(report.appliedVersions, []);
    }));
});

describe("An existing node on our schema", () => {
  it("runs its statements, which name their columns", () =>
    withMigrationSchema(async ({ session, schema, up, sql }) => {
      await up();
      // Nodes rely on search_path.
      await session.script(`SET search_path TO ${schema}`);
      await session.script(
        "CREATE TABLE IF NOT EXISTS schema_migrations " +
          "(version bigint not null primary key, dirty boolean not null)",
      );
      assert.deepEqual(
        await session.script("SELECT version, dirty FROM schema_migrations"),
        [["9", "f"]],
      );
      assert.deepEqual(
        await session.script(
          "SELECT num_partitions FROM settings WHERE single_row_key = true",
        ),
        [["2"]],
      );
      await session.script(`
        INSERT INTO es (stream_id, latest_snapshot_miniblock, migrated)
          VALUES ('${regular}', 0, true);
        INSERT INTO es (stream_id, latest_snapshot_miniblock, migrated,
          ephemeral) VALUES ('${media}', 0, true, true);
        INSERT INTO minipools_r01 (stream_id, generation, slot_num)
          VALUES ('${regular}', 1, -1)`);
      const types = ["bpchar", "int8", "bytea", "bytea?"] as const;
      const bytes = new Uint8Array([0, 255, 10]);
      await session.run([
        bind(
          statement({
            text: "INSERT INTO miniblock_candidates_r01 (stream_id, seq_num, " +
              "block_hash, blockdata, snapshot) VALUES ($1, $2, $3, $4, $5)",
            params: ["bpchar", "int8", "bpchar", "bytea", "bytea?"],
          }),
          ...[regular, 1n, hash, bytes, null] as const,
        ),
        copyIn(
          statement({
            text: "COPY miniblocks_r01 (stream_id, seq_num, blockdata, " +
              "snapshot) FROM STDIN (FORMAT binary)",
          }),
          types,
          [[regular, 0n, bytes, bytes], [regular, 1n, bytes, null]],
        ),
        copyIn(
          statement({
            text: "COPY minipools_r01 (stream_id, generation, slot_num, " +
              "envelope) FROM STDIN (FORMAT binary)",
          }),
          ["bpchar", "int8", "int8", "bytea"],
          [[regular, 1n, 0n, bytes]],
        ),
        bind(
          statement({
            text: "INSERT INTO miniblocks_ext_m01 (stream_id, seq_num, " +
              "start_byte, size) VALUES ($1, 0, 0, 3)",
            params: ["bpchar"],
          }),
          media,
        ),
      ]);
      const [{ rows }] = await session.run([
        bind(
          statement({
            text: "SELECT seq_num, blockdata, snapshot FROM miniblocks_r01 " +
              "WHERE stream_id = $1 ORDER BY seq_num",
            params: ["bpchar"],
            columns: ["int8", "bytea", "bytea?"],
          }),
          regular,
        ),
      ]);
      assert.equal(rows.length, 2);
      assert.deepEqual([...rows[0]![2]!], [...bytes]);
      assert.deepEqual(rows[1]![2], null);
      assert.deepEqual(
        await session.script(
          "SELECT latest_snapshot_miniblock, migrated, ephemeral, " +
            `blockdata_ext FROM es WHERE stream_id = '${media}' FOR UPDATE`,
        ),
        [["0", "t", "t", "D"]],
      );
      await assert.rejects(
        session.script("UPDATE es SET blockdata_ext = 'X'"),
        /blockdata_ext_values/,
      );
      await session.script(`
        DELETE FROM es WHERE stream_id = '${media}';
        RESET search_path`);
      assert.deepEqual(await sql("SELECT count(*) FROM @.es"), [["1"]]);
    }));

  it("is notified of other instances through singlenodekey", () =>
    withMigrationSchema(async ({ session, schema, url, up, sql }) => {
      await up();
      const listener = await openSession(url);
      const notifications = new EventEmitter();
      listener.onNotification((it) => notifications.emit("notification", it));
      await listener.script("LISTEN singlenodekey");
      const statements = [
        "INSERT INTO @.singlenodekey (uuid, storage_connection_time, info) " +
        "VALUES ('u', now(), 'hostname=h, pid=1, schema=s')",
        "UPDATE @.singlenodekey SET uuid = 'v'",
      ];
      for (const text of statements) {
        const notified = once(notifications, "notification");
        await sql(text);
        const [notification] = await notified as [Notification];
        assert.deepEqual(
          [notification.channel, notification.payload],
          ["singlenodekey", schema],
        );
        assert.equal(notification.processId, session.processId);
      }
      await listener.close();
    }));
});
