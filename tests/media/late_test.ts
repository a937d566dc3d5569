/**
 * Requests that change an object are executed late by a bucket server of the
 * tests, and do no harm: no stream loses its blocks.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { queryOnce } from "../support/database.ts";
import { type GcsServer, startGcsServer } from "../support/media/gcs_server.ts";
import {
  assertWhole,
  changesOf,
  type Ground,
  isComplete,
  isDelete,
  isPut,
  lateRequestsDoNoHarm,
} from "../support/media/late.ts";
import {
  letNamesRest,
  mediaBlocks,
  newMediaId,
  onGcs,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import { denied } from "../support/media/real_replies.ts";
import {
  type Conditions,
  type S3Server,
  startS3Server,
} from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";

function s3Ground(server: S3Server): Ground {
  return {
    options: () => onS3(server),
    hold: (holding) => server.hold(holding),
    requests: () => server.requests,
    advance: (ms) => server.advance(ms),
    refuse: (fits) => {
      server.interfere = fits &&
        ((request) => fits(request) ? Promise.resolve(denied) : undefined);
    },
  };
}

for (const conditions of ["kept", "ignored", "refused"] as Conditions[]) {
  describe(`A late request to S3 with conditions ${conditions}`, () => {
    let server: S3Server;
    before(async () => {
      server = await startS3Server();
      server.conditions = conditions;
    });
    after(() => server[Symbol.asyncDispose]());
    lateRequestsDoNoHarm(() => s3Ground(server), { rests: true });
  });
}

describe("A late request to GCS", () => {
  let server: GcsServer;
  before(async () => {
    server = await startGcsServer();
  });
  after(() => server[Symbol.asyncDispose]());
  const ground = (): Ground => ({
    options: () => onGcs(server),
    hold: (holding) => server.hold(holding),
    requests: () => server.requests,
    advance: () => {},
    refuse: (fits) => {
      server.interfere = fits &&
        ((request) => fits(request) ? denied : undefined);
    },
  });
  lateRequestsDoNoHarm(ground, { rests: false });
});

describe("A stream whose object's name rests", () => {
  let server: S3Server;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());

  it("is set aside without a failure, and moved afterwards", async () => {
    await using test = await openTestStorage({
      mediaStorage: onS3(server, { migrateExisting: true }),
      workerConcurrency: 0,
    });
    const { storage, url, schema } = test;
    const { maintenance } = storage;
    const [sealed, existing] = [newMediaId(), newMediaId()];
    for (const id of [sealed, existing]) {
      await sealMedia(storage, mediaBlocks(), id);
      await maintenance.offloadMedia({ streamId: id });
      const held = server.hold({ fits: isDelete });
      await storage.deleteStream(id);
      await held;
      await sealMedia(storage, mediaBlocks(), id);
    }
    const tasks = () =>
      queryOnce(
        url,
        `SELECT stream_id, task, reason,
            due_at > now() + interval '14 min' AND
            due_at < now() + interval '49 min' AS later
          FROM "${schema}".stream_storage_media_tasks ORDER BY stream_id`,
      );
    // One stream has a task. The other one has none, and is found by a search.
    await queryOnce(
      url,
      `DELETE FROM "${schema}".stream_storage_media_tasks
        WHERE stream_id = '${existing}'`,
    );
    const report = await maintenance.offloadMedia();
    assert.deepEqual([report.offloaded, report.failures], [0, []]);
    assert.deepEqual(
      await tasks(),
      [sealed, existing].sort().map((id) => ({
        stream_id: id,
        task: "offload",
        reason: "object_name_rests",
        later: true,
      })),
    );
    await assertWhole(storage, sealed, mediaBlocks());
    await letNamesRest(test);
    await queryOnce(
      url,
      `UPDATE "${schema}".stream_storage_media_tasks SET due_at = now()`,
    );
    assert.equal((await maintenance.offloadMedia()).offloaded, 2);
    assert.deepEqual(await tasks(), []);
    assert.deepEqual(await changesOf(test), []);
    await assertWhole(storage, existing, mediaBlocks());
  });

  for (const chunkBytes of [1000, 3_000_000]) {
    it(`keeps its object of chunks of ${chunkBytes} bytes at the due time`, async () => {
      await using test = await openTestStorage({
        mediaStorage: onS3(server),
        workerConcurrency: 0,
      });
      const { storage } = test;
      const { maintenance } = storage;
      const blocks = mediaBlocks({ chunkBytes });
      const id = await sealMedia(storage, blocks);
      // The bucket makes the object, but the answer is lost. The next attempt
      // finds the object.
      let left = 1;
      server.interfere = (request, answer) =>
        (isPut(request) || isComplete(request)) && left-- > 0
          ? answer().then(() => "reset")
          : undefined;
      await maintenance.offloadMedia({ streamId: id });
      server.interfere = undefined;
      assert.equal(await storage.streamMiniblocksStoredLocation(id), "s3");
      assert.equal((await changesOf(test)).length, 1);
      await letNamesRest(test);
      server.requests.length = 0;
      await maintenance.offloadMedia();
      assert.deepEqual(server.requests.map((line) => line.split(" ")[0]), [
        "HEAD",
      ]);
      assert.deepEqual(await changesOf(test), []);
      await assertWhole(storage, id, blocks);
    });
  }
});
