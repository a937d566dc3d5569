/**
 * The media offloader over a real database and a bucket server of the tests:
 * which streams it moves, when, and what failures leave.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { MediaStorageOptions } from "../../src/postgres/media_options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { openS3Bucket } from "../../src/media/s3.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  bytes,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { queryOnce } from "../support/database.ts";
import {
  everyRead,
  letNamesRest,
  mediaBlocks,
  newMediaId,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import { denied } from "../support/media/real_replies.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";
import { untilSeen } from "../support/until.ts";

/** The rows of the table of tasks, and whether they are due much later. */
function tasksOf({ url, schema }: TestStreamStorage): Promise<unknown[]> {
  return queryOnce(
    url,
    `SELECT stream_id, task, attempts::int, reason,
        due_at > now() + interval '10 s' AS later
      FROM "${schema}".stream_storage_media_tasks ORDER BY stream_id`,
  );
}

async function makeDue({ url, schema }: TestStreamStorage): Promise<void> {
  await queryOnce(
    url,
    `UPDATE "${schema}".stream_storage_media_tasks SET due_at = now()`,
  );
}

/** Closes the store, and opens another one on its schema. */
async function reopened(
  { url, schema, storage }: TestStreamStorage,
  mediaStorage: MediaStorageOptions,
  workerConcurrency = 0,
): Promise<PostgresStreamStorage> {
  await storage.close();
  return await openStreamStorage({
    url,
    schema,
    mediaStorage,
    workerConcurrency,
    startupDelayMs: 0,
  });
}

async function whenAt(
  storage: PostgresStreamStorage,
  id: StreamId,
  location: string,
): Promise<void> {
  await untilSeen(async () =>
    await storage.streamMiniblocksStoredLocation(id) === location
  );
}

describe("The media offloader", () => {
  let server: S3Server;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());
  const bucket = () => openS3Bucket(server.options);
  const idle = (more: { migrateExisting?: boolean } = {}) =>
    openTestStorage({ mediaStorage: onS3(server, more), workerConcurrency: 0 });

  it("moves a stream as soon as it is sealed", async () => {
    await using test = await openTestStorage({
      mediaStorage: onS3(server),
      workerConcurrency: 2,
    });
    const { storage } = test;
    const id = await sealMedia(storage);
    await whenAt(storage, id, "s3");
    const { miniblocks } = await storage.readMiniblocks(id, 0n, 9n);
    assert.deepEqual(miniblocks, mediaBlocks());
    const names = storage.maintenance.workers().map(({ name }) => name);
    assert.ok(names.includes("media_offloader"));
  });

  it("moves, after a restart, a stream that was sealed before it", async () => {
    await using test = await idle();
    const id = await sealMedia(test.storage);
    assert.equal(await test.storage.streamMiniblocksStoredLocation(id), "db");
    await using again = await reopened(test, onS3(server), 2);
    await whenAt(again, id, "s3");
    assert.deepEqual(await tasksOf(test), []);
  });

  it("moves existing streams only if an option says so", async () => {
    await using test = await openTestStorage({ workerConcurrency: 0 });
    const { storage } = test;
    const sealed = [];
    for (let i = 0; i < 11; i++) sealed.push(await sealMedia(storage));
    const waiting = await sealMedia(storage);
    await storage.writeEvent(waiting, 4n, 0, bytes("event"));
    const ephemeral = newMediaId();
    await storage.createEphemeralStreamStorage(ephemeral, mediaBlocks()[0]!);
    const growing = newMediaId();
    await storage.createStreamStorage(growing, mediaBlocks()[0]!);
    const unknown = newMediaId();
    await storage.createStreamStorage(unknown, snapshotBlock(0));
    const other = newStreamId();
    await storage.createStreamStorage(other, snapshotBlock(0));

    await using no = await reopened(test, onS3(server));
    assert.equal((await no.maintenance.offloadMedia()).offloaded, 0);
    await no.close();
    await using yes = await reopened(
      test,
      onS3(server, { migrateExisting: true }),
    );
    const report = await yes.maintenance.offloadMedia();
    assert.deepEqual(report.streamIds.toSorted(), sealed.toSorted());
    assert.equal(report.offloaded, sealed.length);
    const unfit = (streamId: StreamId, reason: string) => ({
      streamId,
      code: "FAILED_PRECONDITION",
      reason,
    });
    const byId = (a: { streamId: string }, b: { streamId: string }) =>
      a.streamId < b.streamId ? -1 : 1;
    const expected = [
      unfit(waiting, "minipool_not_empty"),
      unfit(growing, "not_sealed"),
      unfit(unknown, "not_sealed"),
    ].sort(byId);
    assert.deepEqual(report.failures.toSorted(byId), expected);
    assert.deepEqual(
      await tasksOf(test),
      expected.map(({ streamId, reason }) => ({
        stream_id: streamId,
        task: "offload",
        attempts: 1,
        reason,
        later: true,
      })),
    );
    // The unfit streams are looked at again when they are due, not before.
    const again = await yes.maintenance.offloadMedia();
    assert.deepEqual([again.offloaded, again.failures], [0, []]);
    assert.equal(await yes.isStreamEphemeral(ephemeral), true);
    assert.equal(await yes.streamMiniblocksStoredLocation(other), "db");
  });

  it("sets a stream aside that can't be moved, and moves the others", async () => {
    await using test = await idle();
    const { storage } = test;
    const ids = [];
    for (let i = 0; i < 4; i++) ids.push(await sealMedia(storage));
    const bad = ids[1]!;
    server.interfere = ({ target, method }) =>
      method === "PUT" && target.includes(bad)
        ? Promise.resolve(denied)
        : undefined;
    for (const attempts of [1, 2]) {
      const report = await storage.maintenance.offloadMedia();
      assert.equal(report.offloaded, attempts === 1 ? 3 : 0);
      assert.deepEqual(report.failures, [{
        streamId: bad,
        code: "DOWNSTREAM_NETWORK_ERROR",
        reason: "access_denied",
      }]);
      assert.deepEqual(await tasksOf(test), [{
        stream_id: bad,
        task: "offload",
        attempts,
        reason: "access_denied",
        later: true,
      }]);
      await makeDue(test);
    }
    server.interfere = undefined;
    assert.equal((await storage.maintenance.offloadMedia()).offloaded, 1);
    assert.deepEqual(await tasksOf(test), []);
  });

  it("drops the task of a stream that was moved by hand, or does not exist", async () => {
    await using test = await idle();
    const { storage, url, schema } = test;
    const id = await sealMedia(storage);
    await storage.maintenance.offloadMedia({ streamId: id });
    await queryOnce(
      url,
      `INSERT INTO "${schema}".stream_storage_media_tasks (stream_id, task)
        VALUES ('${id}', 'offload'), ('${newMediaId()}', 'offload')`,
    );
    const report = await storage.maintenance.offloadMedia();
    assert.deepEqual([report.offloaded, report.failures], [0, []]);
    assert.deepEqual(await tasksOf(test), []);
  });

  it("does not wait for times that a clock has set which was ahead", async () => {
    await using test = await idle();
    const { storage, url, schema } = test;
    const [fresh, aside, failed] = [
      await sealMedia(storage),
      await sealMedia(storage),
      await sealMedia(storage),
    ];
    const ahead = (table: string, ids: string[], by: string, attempts = "") =>
      queryOnce(
        url,
        `UPDATE "${schema}".stream_storage_media_${table}
          SET due_at = now() + interval '${by}' ${attempts}
          WHERE stream_id IN ('${ids.join("', '")}')`,
      );
    await ahead("tasks", [fresh], "1 hour");
    await ahead("tasks", [aside], "44 days", ", attempts = 3");
    await ahead("tasks", [failed], "1 year", ", attempts = 3");
    const { streamIds } = await storage.maintenance.offloadMedia();
    assert.deepEqual(streamIds.toSorted(), [fresh, failed].toSorted());

    // A lost request is recorded with a time that is ahead.
    let lost = 0;
    server.interfere = ({ method, target }, answer) =>
      method === "DELETE" && target.includes(fresh)
        ? answer().then(() => (lost++, "reset"))
        : undefined;
    await storage.deleteStream(fresh);
    server.interfere = undefined;
    const due = async () => {
      const rows = await queryOnce(
        url,
        `SELECT due_at > now() + interval '61 minutes' AS ahead
          FROM "${schema}".stream_storage_media_changes`,
      );
      return rows.map(({ ahead }) => ahead);
    };
    assert.ok(lost > 0);
    assert.deepEqual(await due(), [false]);
    await ahead("changes", [fresh], "1 year");
    await storage.maintenance.offloadMedia();
    assert.deepEqual(await due(), [false]);
  });

  it("stops if the bucket fails for every stream", async () => {
    await using test = await idle();
    const { storage } = test;
    const ids = [];
    for (let i = 0; i < 6; i++) ids.push(await sealMedia(storage));
    server.interfere = () => Promise.resolve(denied);
    await assertFails(
      storage.maintenance.offloadMedia(),
      { code: "DOWNSTREAM_NETWORK_ERROR", reason: "access_denied" },
    );
    server.interfere = undefined;
    for (const id of ids) {
      assert.equal(await storage.streamMiniblocksStoredLocation(id), "db");
    }
    await makeDue(test);
    assert.equal((await storage.maintenance.offloadMedia()).offloaded, 6);
  });

  it("refuses a stream that the caller names, with a reason", async () => {
    await using test = await idle();
    const { storage } = test;
    const offload = (streamId: StreamId) =>
      storage.maintenance.offloadMedia({ streamId });
    const space = newStreamId();
    await storage.createStreamStorage(space, snapshotBlock(0));
    await assertFails(offload(space), {
      code: "FAILED_PRECONDITION",
      reason: "not_media",
    });
    await assertFails(offload(newMediaId()), {
      code: "NOT_FOUND",
      reason: "stream_not_found",
    });
    const ephemeral = newMediaId();
    await storage.createEphemeralStreamStorage(ephemeral, mediaBlocks()[0]!);
    await assertFails(offload(ephemeral), {
      code: "FAILED_PRECONDITION",
      reason: "ephemeral_stream",
    });
    const waiting = await sealMedia(storage);
    await storage.writeEvent(waiting, 4n, 0, bytes("event"));
    await assertFails(offload(waiting), {
      code: "FAILED_PRECONDITION",
      reason: "minipool_not_empty",
    });
    const archive = newMediaId();
    await storage.createStreamArchiveStorage(archive);
    await assertFails(offload(archive), {
      code: "FAILED_PRECONDITION",
      reason: "no_miniblocks",
    });
    await assertFails(
      storage.maintenance.offloadMedia({ streamId: "ff" as StreamId }),
      { code: "BAD_STREAM_ID", reason: "bad_stream_id" },
    );
    await storage.close();
    await assertFails(offload(waiting), {
      code: "FAILED_PRECONDITION",
      reason: "closed",
    });
  });

  it("leaves a rehydrated stream in the database, unless the caller names it", async () => {
    await using test = await idle({ migrateExisting: true });
    const { storage } = test;
    const { maintenance } = storage;
    const id = await sealMedia(storage);
    await maintenance.offloadMedia();
    await maintenance.rehydrateMedia(id);
    const name = `${test.schema}/${id}`;
    assert.equal(await bucket().headObject(name), undefined);
    assert.equal((await maintenance.offloadMedia()).offloaded, 0);
    assert.equal(await storage.streamMiniblocksStoredLocation(id), "db");
    assert.equal(
      (await maintenance.offloadMedia({ streamId: id })).offloaded,
      1,
    );
  });

  it("deletes the object of a deleted stream, if necessary later", async () => {
    await using test = await idle();
    const { storage, schema } = test;
    const { maintenance } = storage;
    const move = async (id: StreamId) => {
      await sealMedia(storage, mediaBlocks(), id);
      await maintenance.offloadMedia({ streamId: id });
    };
    const id = newMediaId();
    const name = `${schema}/${id}`;
    await move(id);
    await storage.deleteStream(id);
    assert.equal(await bucket().headObject(name), undefined);
    assert.deepEqual(await tasksOf(test), []);

    const refuse = () => {
      server.interfere = ({ method }) =>
        method === "DELETE" ? Promise.resolve(denied) : undefined;
    };
    await move(id);
    refuse();
    await storage.deleteStream(id);
    await assertFails(
      storage.getLastMiniblockNumber(id),
      { code: "NOT_FOUND", reason: "stream_not_found" },
    );
    assert.equal((await tasksOf(test)).length, 1);
    server.interfere = undefined;
    assert.equal((await maintenance.offloadMedia()).deletedObjects, 1);
    assert.equal(await bucket().headObject(name), undefined);
    assert.deepEqual(await tasksOf(test), []);

    // A stream that was created again meanwhile keeps its new object.
    await move(id);
    refuse();
    await storage.deleteStream(id);
    server.interfere = undefined;
    await move(id);
    await queryOnce(
      test.url,
      `INSERT INTO "${schema}".stream_storage_media_tasks (stream_id, task)
        VALUES ('${id}', 'delete')`,
    );
    await maintenance.offloadMedia();
    assert.equal((await storage.readMiniblocks(id, 0n, 9n)).terminus, true);
    assert.notEqual(await bucket().headObject(name), undefined);
  });

  it("rehydrates a stream once, however many callers ask for it", async () => {
    await using test = await idle();
    const { storage } = test;
    const id = await sealMedia(storage);
    for (let round = 0; round < 3; round++) {
      await storage.maintenance.offloadMedia({ streamId: id });
      const results = await Promise.all(
        Array.from({ length: 5 }, () => storage.maintenance.rehydrateMedia(id)),
      );
      const none = { rehydrated: false, blocks: 0, bytes: 0 };
      const [moved, ...others] = results.toSorted((a, b) =>
        b.blocks - a.blocks
      );
      assert.equal(moved?.rehydrated, true);
      assert.deepEqual(others, [none, none, none, none]);
      const { miniblocks } = await storage.readMiniblocks(id, 0n, 9n);
      assert.deepEqual(miniblocks, mediaBlocks());
      await letNamesRest(test);
    }
  });

  it("moves and rehydrates a stream while it is read", async () => {
    await using test = await idle();
    const { storage } = test;
    const blocks = mediaBlocks({ chunks: 6 });
    const id = await sealMedia(storage, blocks);
    let isOver = false;
    const expected = await everyRead(storage, id);
    let reads = 0;
    const reader = async () => {
      for (; !isOver; reads++) {
        assert.deepEqual(await everyRead(storage, id), expected);
      }
    };
    const readers = [reader(), reader()];
    for (let i = 0; i < 6; i++) {
      await storage.maintenance.offloadMedia({ streamId: id });
      await storage.maintenance.rehydrateMedia(id);
    }
    isOver = true;
    await Promise.all(readers);
    assert.ok(reads > 1);
  });
});
