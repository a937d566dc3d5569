/** Who is moved to object storage, when, and what failures leave behind. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { MediaStorageOptions } from "../../src/postgres/media_options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { openS3Bucket } from "../../src/media/s3.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { partitionSuffix, type StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  bytes,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import type { RawRequest } from "../support/media/raw_http.ts";
import { assertSurvivesCuts } from "../support/cut_everywhere.ts";
import { queryOnce } from "../support/database.ts";
import {
  everyRead,
  letNamesRest,
  mediaBlocks,
  newMediaId,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";
import { untilSeen } from "../support/until.ts";

const denied = {
  status: 403,
  body: "<Error><Code>AccessDenied</Code></Error>",
};

function fails(
  call: Promise<unknown>,
  code: string,
  reason: string,
): Promise<void> {
  return assert.rejects(call, (error) => {
    assert.ok(isStreamStorageError(error), String(error));
    assert.deepEqual([error.code, error.details["reason"]], [code, reason]);
    return true;
  });
}

/** The rows of the table of tasks, without times. */
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

/** Another store on the schema, after this one. */
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

  it("moves after a restart what was sealed before it", async () => {
    await using test = await idle();
    const id = await sealMedia(test.storage);
    assert.equal(await test.storage.streamMiniblocksStoredLocation(id), "db");
    await using again = await reopened(test, onS3(server), 2);
    await whenAt(again, id, "s3");
    assert.deepEqual(await tasksOf(test), []);
  });

  it("moves existing streams only if it is told to", async () => {
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
    // They are looked at again when they are due, and not before.
    const again = await yes.maintenance.offloadMedia();
    assert.deepEqual([again.offloaded, again.failures], [0, []]);
    assert.equal(await yes.isStreamEphemeral(ephemeral), true);
    assert.equal(await yes.streamMiniblocksStoredLocation(other), "db");
  });

  it("sets aside what fails, and goes on with the others", async () => {
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

  it("has nothing left to do about a stream that was moved by hand", async () => {
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

  it("does not wait for a clock that was ahead", async () => {
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

    // A lost request that was written down then.
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

  it("gives up when it is the bucket that fails", async () => {
    await using test = await idle();
    const { storage } = test;
    const ids = [];
    for (let i = 0; i < 6; i++) ids.push(await sealMedia(storage));
    server.interfere = () => Promise.resolve(denied);
    await fails(
      storage.maintenance.offloadMedia(),
      "DOWNSTREAM_NETWORK_ERROR",
      "access_denied",
    );
    server.interfere = undefined;
    for (const id of ids) {
      assert.equal(await storage.streamMiniblocksStoredLocation(id), "db");
    }
    await makeDue(test);
    assert.equal((await storage.maintenance.offloadMedia()).offloaded, 6);
  });

  it("refuses one stream with a reason", async () => {
    await using test = await idle();
    const { storage } = test;
    const offload = (streamId: StreamId) =>
      storage.maintenance.offloadMedia({ streamId });
    const space = newStreamId();
    await storage.createStreamStorage(space, snapshotBlock(0));
    await fails(offload(space), "FAILED_PRECONDITION", "not_media");
    await fails(offload(newMediaId()), "NOT_FOUND", "stream_not_found");
    const ephemeral = newMediaId();
    await storage.createEphemeralStreamStorage(ephemeral, mediaBlocks()[0]!);
    await fails(offload(ephemeral), "FAILED_PRECONDITION", "ephemeral_stream");
    const waiting = await sealMedia(storage);
    await storage.writeEvent(waiting, 4n, 0, bytes("event"));
    await fails(offload(waiting), "FAILED_PRECONDITION", "minipool_not_empty");
    const archive = newMediaId();
    await storage.createStreamArchiveStorage(archive);
    await fails(offload(archive), "FAILED_PRECONDITION", "no_miniblocks");
    await fails(
      storage.maintenance.offloadMedia({ streamId: "ff" as StreamId }),
      "BAD_STREAM_ID",
      "bad_stream_id",
    );
    await storage.close();
    await fails(offload(waiting), "FAILED_PRECONDITION", "closed");
  });

  it("leaves a stream alone that was brought back", async () => {
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

  it("deletes the object of a deleted stream, later if need be", async () => {
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
    await fails(
      storage.getLastMiniblockNumber(id),
      "NOT_FOUND",
      "stream_not_found",
    );
    assert.equal((await tasksOf(test)).length, 1);
    server.interfere = undefined;
    assert.equal((await maintenance.offloadMedia()).deletedObjects, 1);
    assert.equal(await bucket().headObject(name), undefined);
    assert.deepEqual(await tasksOf(test), []);

    // Made anew meanwhile, it keeps its new object.
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

  it("deletes no rows for an object that reads back differently", async () => {
    await using test = await idle();
    const { storage, schema } = test;
    const id = await sealMedia(storage);
    const before = await everyRead(storage, id);
    const name = `${schema}/${id}`;
    let isWritten = false;
    server.interfere = ({ method }, answer) => {
      if (method !== "PUT" || isWritten) return undefined;
      isWritten = true;
      return answer().then(async (reply) => {
        const { size } = (await bucket().headObject(name))!;
        const stored = await bucket().getRange(name, { start: 0, size });
        stored[size - 1]! ^= 1;
        await bucket().putObject(
          name,
          size,
          async function* () {
            yield await Promise.resolve(stored);
          }(),
        );
        return reply;
      });
    };
    const moving = storage.maintenance.offloadMedia({ streamId: id });
    await fails(moving, "DOWNSTREAM_NETWORK_ERROR", "checksum_mismatch");
    server.interfere = undefined;
    assert.equal(await storage.streamMiniblocksStoredLocation(id), "db");
    assert.deepEqual(await everyRead(storage, id), before);
  });

  it("gives up no object for rows that are not all there", async () => {
    await using test = await idle();
    const { storage, url, schema } = test;
    const blocks = mediaBlocks({ chunkBytes: 3_000_000 });
    const id = await sealMedia(storage, blocks);
    await storage.maintenance.offloadMedia({ streamId: id });
    let gets = 0;
    server.interfere = ({ method }, answer) => {
      if (method !== "GET" || ++gets < 3) return undefined;
      const partition = partitionSuffix(id, storage.partitions);
      return queryOnce(
        url,
        `DELETE FROM "${schema}".miniblocks_${partition} WHERE seq_num = 1`,
      ).then(answer);
    };
    const bringing = storage.maintenance.rehydrateMedia(id);
    await fails(bringing, "DB_OPERATION_FAILURE", "stream_changed");
    server.interfere = undefined;
    assert.equal(await storage.streamMiniblocksStoredLocation(id), "s3");
    await storage.maintenance.rehydrateMedia(id);
    const { miniblocks } = await storage.readMiniblocks(id, 0n, 9n);
    assert.ok(miniblocks.every(({ data }, i) => equal(data, blocks[i]!.data)));
    assert.equal(miniblocks.length, blocks.length);
  });

  it("leaves no object when the stream changed on the way", async () => {
    await using test = await idle();
    const { storage, schema, url } = test;
    const id = await sealMedia(storage);
    const name = `${schema}/${id}`;
    const partition = partitionSuffix(id, storage.partitions);
    const changes = [
      () => storage.writeEvent(id, 4n, 0, bytes("event")),
      // A foreign writer: the same number and size, other bytes.
      () =>
        queryOnce(
          url,
          `UPDATE "${schema}".miniblocks_${partition}
            SET blockdata = set_byte(blockdata, 9, 7) WHERE seq_num = 2`,
        ),
      () => storage.debugDeleteMiniblocks(id, 2n, 3n),
      () => storage.deleteStream(id),
    ];
    for (const change of changes) {
      let isDone = false;
      server.interfere = ({ method }, answer) => {
        if (method !== "HEAD" || isDone) return undefined;
        isDone = true;
        return Promise.resolve(change()).then(answer);
      };
      const moving = storage.maintenance.offloadMedia({ streamId: id });
      await fails(moving, "DB_OPERATION_FAILURE", "stream_changed");
      server.interfere = undefined;
      assert.equal(await bucket().headObject(name), undefined);
      await storage.writeMiniblocks(
        id,
        [block(4)],
        { generation: 5n, envelopes: [] },
        { generation: 4n },
      ).catch(() => {});
    }
  });

  it("brings a stream back once, however many ask for it", async () => {
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

  it("moves and brings back while readers read", async () => {
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

describe("A bucket that does not answer any more", () => {
  const whole = mediaBlocks();
  const inParts = mediaBlocks({ chunks: 3, chunkBytes: 3_000_000 });
  const moments: [
    what: string,
    blocks: MiniblockDescriptor[],
    fits: (request: RawRequest) => boolean,
  ][] = [
    ["looks", whole, ({ method }) => method === "HEAD"],
    ["uploads", whole, ({ method }) => method === "PUT"],
    ["uploads a part", inParts, ({ method }) => method === "PUT"],
    [
      "ends an upload",
      inParts,
      ({ url: { searchParams }, method }) =>
        method === "POST" && searchParams.has("uploadId"),
    ],
    [
      "reads back",
      whole,
      ({ method, headers }) =>
        method === "GET" && headers.get("range") !== "bytes=0-0",
    ],
  ];
  for (const [what, blocks, fits] of moments) {
    it(`is not waited for by closing when a move ${what}`, async (context) => {
      // No patience of more than a moment ends here.
      const { timeout } = AbortSignal;
      AbortSignal.timeout = (ms) =>
        ms > 1000 ? new AbortController().signal : timeout(ms);
      context.after(() => {
        AbortSignal.timeout = timeout;
      });
      await using server = await startS3Server();
      await using test = await openTestStorage({
        mediaStorage: onS3(server),
        workerConcurrency: 0,
      });
      const { storage } = test;
      const id = await sealMedia(storage, blocks);
      const hanging = Promise.withResolvers<void>();
      let isHanging = false;
      server.interfere = (request) => {
        if (!isHanging && !fits(request)) return undefined;
        isHanging = true;
        hanging.resolve();
        return Promise.resolve("hang");
      };
      const { maintenance } = storage;
      const ends = [
        maintenance.offloadMedia({ streamId: id }),
        // They wait for their turn.
        maintenance.offloadMedia({ streamId: id }),
        maintenance.rehydrateMedia(id),
      ].map((call) => fails(call, "FAILED_PRECONDITION", "closed"));
      await hanging.promise;
      await storage.close();
      await Promise.all(ends);
    });
  }
});

describe("A move that fails at any request", () => {
  let server: S3Server;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());

  for (const [what, chunkBytes] of [["one part", 1000], ["parts", 3_000_000]]) {
    it(`of an object of ${what} leaves all as it was`, async () => {
      await using test = await openTestStorage({
        mediaStorage: onS3(server),
        workerConcurrency: 0,
        operationTimeoutMs: 30_000,
      });
      const { storage } = test;
      const { maintenance } = storage;
      const id = await sealMedia(
        storage,
        mediaBlocks({ chunkBytes: Number(chunkBytes) }),
      );
      const expected = await storage.readStreamFromLastSnapshot(id, 0);
      const check = async (location: string) => {
        assert.equal(
          await storage.streamMiniblocksStoredLocation(id),
          location,
        );
        const view = await storage.readStreamFromLastSnapshot(id, 0);
        assert.ok(isSame(view, expected), "Not what was written");
      };
      const steps = [
        () => maintenance.offloadMedia({ streamId: id }),
        () => maintenance.rehydrateMedia(id),
      ];
      for (const [i, step] of steps.entries()) {
        const [from, to] = i === 0 ? ["db", "s3"] : ["s3", "db"];
        let failures = 0;
        for (let nth = 1;; nth++) {
          let left = nth;
          server.interfere = ({ method }) =>
            method !== "DELETE" && --left === 0
              ? Promise.resolve(denied)
              : undefined;
          const failed = await step().then(() => false, () => true);
          server.interfere = undefined;
          if (!failed) break;
          failures++;
          await check(from!);
        }
        assert.ok(failures >= (chunkBytes === 1000 ? 1 : 3));
        await check(to!);
      }
    });
  }

  it("or is cut off from the database at any message", async () => {
    const blocks = mediaBlocks();
    const options = { mediaStorage: onS3(server), workerConcurrency: 0 };
    const prepare = async (storage: PostgresStreamStorage, id: StreamId) => {
      await sealMedia(storage, blocks, mediaOf(id));
    };
    const check = (location: string) =>
    async (
      storage: PostgresStreamStorage,
      id: StreamId,
    ) => {
      const media = mediaOf(id);
      const { miniblocks } = await storage.readMiniblocks(media, 0n, 9n);
      assert.deepEqual(miniblocks, blocks);
      const now = await storage.streamMiniblocksStoredLocation(media);
      assert.equal(now, location);
    };
    await assertSurvivesCuts({
      options,
      oneIn: 8,
      prepare,
      write: ({ maintenance }, id) =>
        maintenance.offloadMedia({ streamId: mediaOf(id) }),
      check: check("s3"),
    });
    await assertSurvivesCuts({
      options,
      oneIn: 8,
      prepare: async (storage, id) => {
        await prepare(storage, id);
        await storage.maintenance.offloadMedia({ streamId: mediaOf(id) });
      },
      write: ({ maintenance }, id) => maintenance.rehydrateMedia(mediaOf(id)),
      check: check("db"),
    });
  });
});

/** The media stream of a test that was given another one. */
function mediaOf(id: StreamId): StreamId {
  return `ff${id.slice(2)}` as StreamId;
}

/** As `deepEqual`, but fast for megabytes. */
function isSame(
  a: Awaited<ReturnType<PostgresStreamStorage["readStreamFromLastSnapshot"]>>,
  b: typeof a,
): boolean {
  return a.miniblocks.length === b.miniblocks.length &&
    a.miniblocks.every(({ number, data, snapshot }, i) => {
      const other = b.miniblocks[i]!;
      return number === other.number &&
        equal(data, other.data) &&
        equal(snapshot ?? bytes(""), other.snapshot ?? bytes(""));
    });
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
