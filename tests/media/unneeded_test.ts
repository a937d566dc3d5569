/**
 * Objects that no stream needs are deleted in the end, although the bucket has
 * refused it at first. Against a real database and a bucket server of the
 * tests.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { queryOnce } from "../support/database.ts";
import { type GcsServer, startGcsServer } from "../support/media/gcs_server.ts";
import { changesOf, isDelete, isPut } from "../support/media/late.ts";
import {
  letNamesRest,
  mediaBlocks,
  newMediaId,
  onGcs,
  sealMedia,
} from "../support/media/streams.ts";
import { denied } from "../support/media/real_replies.ts";
import { openTestStorage } from "../support/storage.ts";

describe("An object that could not be deleted", () => {
  let server: GcsServer;
  let test: TestStreamStorage;
  before(async () => {
    server = await startGcsServer();
    test = await openTestStorage({
      mediaStorage: onGcs(server),
      partitions: 2,
    });
  });
  // The tests share a store, but not what they leave in it.
  beforeEach(async () => {
    server.objects.clear();
    for (const table of ["tasks", "changes"]) {
      await queryOnce(
        test.url,
        `DELETE FROM "${test.schema}".stream_storage_media_${table}`,
      );
    }
  });
  after(async () => {
    await test[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** Runs `body` while the bucket refuses to delete objects. */
  async function refusing<T>(body: () => Promise<T>): Promise<T> {
    server.interfere = (request) => isDelete(request) ? denied : undefined;
    try {
      return await body();
    } finally {
      server.interfere = undefined;
    }
  }

  /** Makes a stream whose blocks are in an object. */
  async function moved(): Promise<StreamId> {
    const id = await sealMedia(test.storage);
    await test.storage.maintenance.offloadMedia({ streamId: id });
    assert.equal(server.objects.size, 1);
    return id;
  }

  const tasks = async () =>
    (await queryOnce(
      test.url,
      `SELECT task FROM "${test.schema}".stream_storage_media_tasks`,
    )).map(({ task }) => task);

  async function makeDue(): Promise<void> {
    await letNamesRest(test, 2 * 3_600_000);
    await queryOnce(
      test.url,
      `UPDATE "${test.schema}".stream_storage_media_tasks SET due_at = now()`,
    );
  }

  /** Lets the offloader work, and checks that no object and no task is left. */
  async function assertNothing(): Promise<void> {
    await makeDue();
    const { failures } = await test.storage.maintenance.offloadMedia();
    assert.deepEqual(failures, []);
    assert.deepEqual([...server.objects.keys()], []);
    assert.deepEqual([await tasks(), await changesOf(test)], [[], []]);
  }

  it("is deleted after its stream, which was rehydrated before", async () => {
    const { storage } = test;
    const id = await moved();
    await refusing(() => storage.maintenance.rehydrateMedia(id));
    assert.deepEqual(await tasks(), ["delete"]);
    await storage.deleteStream(id);
    assert.equal(server.objects.size, 1);
    await assertNothing();
  });

  it("is deleted after its stream, which was created again and sealed", async () => {
    const { storage } = test;
    const id = await moved();
    await refusing(() => storage.deleteStream(id));
    await sealMedia(storage, mediaBlocks(), id);
    assert.deepEqual(await tasks(), ["offload"]);
    await storage.deleteStream(id);
    assert.equal(server.objects.size, 1);
    await assertNothing();
  });

  for (const isEarly of [true, false]) {
    const when = isEarly ? "before" : "after";
    it(`is deleted ${when} an upload of its name is swept`, async () => {
      const { storage } = test;
      const id = await moved();
      await refusing(() => storage.deleteStream(id));
      await storage.createEphemeralStreamStorage(id, mediaBlocks()[0]!);
      if (isEarly) await storage.maintenance.offloadMedia();
      await storage.maintenance.sweepEphemeralStreams({ ttlMs: 0 });
      await assertNothing();
    });
  }

  /** Leaves an object to which only the record of a lost request leads. */
  async function abandoned(): Promise<StreamId> {
    const id = newMediaId();
    await sealMedia(test.storage, mediaBlocks(), id);
    server.interfere = (request, answer) => {
      if (isPut(request)) return answer().then(() => denied);
      return isDelete(request) ? denied : undefined;
    };
    const { maintenance } = test.storage;
    await assert.rejects(maintenance.offloadMedia({ streamId: id }));
    server.interfere = undefined;
    await test.storage.deleteStream(id);
    await queryOnce(
      test.url,
      `DELETE FROM "${test.schema}".stream_storage_media_tasks`,
    );
    assert.equal(server.objects.size, 1);
    assert.equal((await changesOf(test)).length, 1);
    return id;
  }

  it("is deleted later if the bucket also refuses when it is due", async () => {
    await abandoned();
    await makeDue();
    const { maintenance } = test.storage;
    const { failures } = await refusing(() => maintenance.offloadMedia());
    assert.equal(failures.length, 1);
    assert.equal((await changesOf(test)).length, 1);
    await assertNothing();
  });

  it("is deleted later if reconcileMedia found another one in its place", async () => {
    const id = await abandoned();
    await makeDue();
    server.interfere = ({ method }, answer) => {
      const name = `${test.schema}/${id}`;
      if (method === "HEAD") server.objects.set(name, new Uint8Array(3));
      return answer();
    };
    const { deleted, unused } = await test.storage.maintenance.reconcileMedia({
      minAgeMs: 0,
      maxDeleted: 1,
    });
    server.interfere = undefined;
    assert.deepEqual([deleted, unused], [0, 1]);
    assert.equal((await changesOf(test)).length, 1);
    await assertNothing();
  });
});
