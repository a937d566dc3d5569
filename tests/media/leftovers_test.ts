/**
 * Rows that an interrupted rehydration has left in a real database are found
 * and removed, unless they may be the last copy.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openS3Bucket } from "../../src/media/s3.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { partitionSuffix, type StreamId } from "../../src/storage/stream_id.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { queryOnce } from "../support/database.ts";
import {
  everyRead,
  mediaBlocks,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import { denied } from "../support/media/real_replies.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";

/** Blocks so large that each is read as a page of its own. */
const large = () => mediaBlocks({ chunks: 2, chunkBytes: 2_100_000 });

describe("A rehydration", () => {
  let server: S3Server;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());

  async function moved() {
    const mediaStorage = onS3(server);
    const test = await openTestStorage({ mediaStorage, workerConcurrency: 0 });
    const id = await sealMedia(test.storage, large());
    const whole = await everyRead(test.storage, id);
    await test.storage.maintenance.offloadMedia({ streamId: id });
    return { test, id, whole };
  }

  /** The number of the stream's blocks in the database. */
  async function rowsOf(
    { url, schema, storage: { partitions } }: TestStreamStorage,
    id: StreamId,
  ): Promise<number> {
    const table = `miniblocks_${partitionSuffix(id, partitions)}`;
    const [row] = await queryOnce(
      url,
      `SELECT count(*)::int AS n FROM "${schema}".${table}
        WHERE stream_id = '${id}'`,
    );
    return Number((row as { n: number }).n);
  }

  async function makeDue({ url, schema }: TestStreamStorage): Promise<void> {
    await queryOnce(
      url,
      `UPDATE "${schema}".stream_storage_media_tasks SET due_at = now()`,
    );
  }

  /**
   * Has another store take over when one page is back, and returns that store.
   */
  async function brokenOff(
    { test, id }: { test: TestStreamStorage; id: StreamId },
  ): Promise<PostgresStreamStorage> {
    let gets = 0;
    const held = server.hold({
      fits: ({ method }) => method === "GET" && ++gets === 2,
      client: "hang",
    });
    const failed = assert.rejects(
      test.storage.maintenance.rehydrateMedia(id),
    );
    await held;
    const owner = await openStreamStorage({
      url: test.url,
      schema: test.schema,
      mediaStorage: onS3(server),
      workerConcurrency: 0,
      startupDelayMs: 0,
    });
    (await held).disconnect();
    await test.storage.close();
    await failed;
    assert.ok(await rowsOf(test, id) > 0);
    return owner;
  }

  const counts = async (
    { maintenance }: PostgresStreamStorage,
    dryRun = true,
  ) => {
    const { inBothPlaces, missing, damaged, unused } = await maintenance
      .reconcileMedia({ dryRun, minAgeMs: 0 });
    return { inBothPlaces, missing, damaged, unused };
  };
  const none = { inBothPlaces: 0, missing: 0, damaged: 0, unused: 0 };

  for (const who of ["the offloader", "reconcileMedia"]) {
    it(`that a takeover interrupts is reported, and ${who} removes its rows`, async () => {
      const { test, id, whole } = await moved();
      await using _ = test;
      await using owner = await brokenOff({ test, id });
      assert.deepEqual(await counts(owner), { ...none, inBothPlaces: 1 });
      assert.deepEqual(await everyRead(owner, id), whole);
      if (who === "the offloader") {
        await makeDue(test);
        const { offloaded, failures } = await owner.maintenance.offloadMedia();
        assert.deepEqual([offloaded, failures], [0, []]);
      } else {
        const counted = await counts(owner, false);
        assert.deepEqual(counted, { ...none, inBothPlaces: 1 });
      }
      assert.equal(await rowsOf(test, id), 0);
      assert.deepEqual(await counts(owner), none);
      assert.deepEqual(await everyRead(owner, id), whole);
      assert.equal(await owner.streamMiniblocksStoredLocation(id), "s3");
    });
  }

  it("that the bucket refuses leaves no rows", async () => {
    const { test, id, whole } = await moved();
    await using _ = test;
    const { storage } = test;
    let gets = 0;
    server.interfere = ({ method }) =>
      method === "GET" && ++gets > 1 ? Promise.resolve(denied) : undefined;
    await assert.rejects(storage.maintenance.rehydrateMedia(id));
    server.interfere = undefined;
    assert.equal(await rowsOf(test, id), 0);
    assert.deepEqual(await everyRead(storage, id), whole);
  });

  it("that was interrupted keeps its rows if the object is gone, as the last copy", async () => {
    const { test, id } = await moved();
    await using _ = test;
    await using owner = await brokenOff({ test, id });
    const rows = await rowsOf(test, id);
    await openS3Bucket(server.options).deleteObject(`${test.schema}/${id}`);
    const both = { ...none, inBothPlaces: 1, missing: 1 };
    for (const dryRun of [true, false]) {
      assert.deepEqual(await counts(owner, dryRun), both);
    }
    await makeDue(test);
    const { failures } = await owner.maintenance.offloadMedia();
    assert.equal(failures.length, 1);
    await assert.rejects(owner.maintenance.rehydrateMedia(id));
    assert.equal(await rowsOf(test, id), rows);
  });
  it("that is in progress is left alone by the offloader", async () => {
    const { test, id, whole } = await moved();
    await using _ = test;
    const { storage: { maintenance }, storage } = test;
    const reached = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    server.interfere = ({ method }, answer) => {
      if (method !== "GET") return undefined;
      reached.resolve();
      return goOn.promise.then(answer);
    };
    const bringing = maintenance.rehydrateMedia(id);
    await reached.promise;
    await makeDue(test);
    const offloading = maintenance.offloadMedia();
    // The offloader has time enough to find the task, and waits.
    for (let n = 0; n < 20; n++) await rowsOf(test, id);
    goOn.resolve();
    assert.equal((await bringing).rehydrated, true);
    assert.equal((await offloading).offloaded, 0);
    server.interfere = undefined;
    assert.equal(await storage.streamMiniblocksStoredLocation(id), "db");
    assert.deepEqual(await everyRead(storage, id), whole);
    assert.deepEqual(await counts(storage), none);
  });
});
