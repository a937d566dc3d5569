/**
 * Opening a reader on a real server: schemas that a node alone has made, schemas
 * that are too old, too new or broken, and the options that a reader has.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openStreamReader } from "../../src/open_stream_reader.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamReaderOptions } from "../../src/postgres/reader_options.ts";
import {
  assertFails,
  block,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { everyRead, onS3, sealMedia } from "../support/media/streams.ts";
import { withMigrationSchema } from "../support/migrations/schema.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";

describe("A schema of a node alone", () => {
  let bucket: S3Server;
  before(async () => {
    bucket = await startS3Server();
  });
  after(() => bucket?.[Symbol.asyncDispose]());

  /** Drops what only this module has made in the schema. */
  const dropOwn = `DO $$ DECLARE t text; BEGIN
      FOR t IN SELECT tablename FROM pg_tables
        WHERE schemaname = '@' AND tablename LIKE 'stream_storage_%'
      LOOP EXECUTE 'DROP TABLE @.' || t; END LOOP;
    END $$;
    ALTER TABLE @.es DROP COLUMN stream_storage_incarnation`;

  it("can be read, even while a store migrates it, with blocks in object storage", async () => {
    await withMigrationSchema(async ({ url, schema, up, sql }) => {
      await up();
      const mediaStorage = onS3(bucket);
      const store = { url, schema, mediaStorage, startupDelayMs: 0 };
      const options = { ...store, workerConcurrency: 0 };
      const storage = await openStreamStorage(options);
      // A node keeps no snapshots of a stream in object storage.
      const blocks = [snapshotBlock(0), block(1)];
      const kept = newStreamId("channel");
      await storage.createStreamStorage(kept, blocks[0]!);
      const media = await sealMedia(storage);
      await storage.maintenance.offloadMedia({ streamId: media });
      const expected = [
        await everyRead(storage, kept),
        await everyRead(storage, media),
      ];
      await storage.close();
      const [own] = await sql(
        "SELECT encode(snapshot, 'hex') FROM @.stream_storage_media_blocks WHERE seq_num = 0",
      );
      await sql(dropOwn);
      await using reader = await openStreamReader({
        url,
        schema,
        mediaStorage,
      });
      assert.deepEqual(await everyRead(reader, kept), expected[0]);
      const { miniblocks } = await reader.readMiniblocks(media, 0n, 9n);
      assert.equal(miniblocks.length, 4);
      assert.equal(miniblocks[0]!.snapshot, undefined);
      // The reader stays open while a store makes and fills its own tables.
      await using owner = await openStreamStorage(options);
      await sql(
        `INSERT INTO @.stream_storage_media_blocks
           (stream_id, seq_num, sha256, snapshot, holds_snapshot)
         SELECT '${media}', 0, sha256('x'), decode('${own![0]}', 'hex'), false`,
      );
      // The row describes other bytes than those in the bucket.
      await assertFails(reader.readMiniblocks(media, 0n, 9n), {
        code: "DOWNSTREAM_NETWORK_ERROR",
        reason: "checksum_mismatch",
      });
      await owner.close();
      await sql(dropOwn);
      const again = await reader.readMiniblocks(media, 0n, 9n);
      assert.equal(again.miniblocks.length, 4);
    });
  });

  it("is refused if it is older or newer than version 9, dirty, or without tables", async () => {
    await withMigrationSchema(async ({ url, schema, up, sql }) => {
      const refused = async (reason: string, text: RegExp) => {
        await assert.rejects(openStreamReader({ url, schema }), (error) => {
          assertFailsWith(error, reason, text);
          return true;
        });
      };
      await refused("schema_not_found", /does not exist/);
      await sql("CREATE SCHEMA @");
      await refused("schema_not_current", /holds no streams/);
      await up();
      for (const version of [6, 7, 8]) {
        await sql(`UPDATE @.schema_migrations SET version = ${version}`);
        await refused("schema_not_current", new RegExp(`version ${version}`));
      }
      await sql("UPDATE @.schema_migrations SET version = 5");
      await refused("schema_version_too_old", /older layout/);
      await sql("UPDATE @.schema_migrations SET version = 10");
      await refused("schema_version_too_new", /at most/);
      await sql("UPDATE @.schema_migrations SET version = 9, dirty = true");
      await refused("schema_dirty", /halfway/);
      await sql("UPDATE @.schema_migrations SET dirty = false");
      await sql(dropOwn);
      await using reader = await openStreamReader({ url, schema });
      assert.equal(reader.partitions, 2);
      const [left] = await sql(
        "SELECT count(*) FROM pg_tables WHERE schemaname = '@' AND tablename LIKE 'stream_storage_%'",
      );
      assert.deepEqual(left, ["0"]);
    });
  });
});

function assertFailsWith(error: unknown, reason: string, text: RegExp): void {
  const { code, details, message, operation } = error as {
    code: string;
    details: { reason: string };
    message: string;
    operation: string;
  };
  assert.deepEqual(
    { code, reason: details.reason, operation },
    { code: "BAD_CONFIG", reason, operation: "openStreamReader" },
  );
  assert.match(message, text);
}

describe("The options of a reader", () => {
  const open = async (options: Partial<StreamReaderOptions>) =>
    await openStreamReader({
      url: await testDatabaseUrl(),
      schema: "never_opened",
      ...options,
    });

  it("are only those that make sense for one", async () => {
    const senseless = {
      ownershipUrl: "postgresql://u@h/d",
      partitions: 2,
      instanceId: "x",
      isolationLevel: "serializable",
      startupDelayMs: 1,
      ephemeralTtlMs: 1,
      trimming: {},
      quotas: {},
      workerConcurrency: 1,
      migrate: "apply",
      debugTransactions: true,
      targetSessionAttrs: "read-only",
      maxConnections: 0,
    };
    await assert.rejects(
      open(senseless as unknown as StreamReaderOptions),
      (error) => {
        assertFailsWith(error, "bad_options", /Options are not valid/);
        const { faults } =
          (error as { details: { faults: unknown[] } }).details;
        const named = JSON.stringify(faults);
        for (const name of Object.keys(senseless).slice(0, 8)) {
          assert.match(named, new RegExp(name));
        }
        return true;
      },
    );
  });

  it("include a signal that ends the opening", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await assertFails(open({ signal }), {
      code: "CANCELED",
      operation: "openStreamReader",
    });
  });
});
