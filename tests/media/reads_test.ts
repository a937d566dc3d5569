/**
 * Every read of a media stream gives the same in object storage as in the
 * database, and fails with a typed error if the object is wrong. Against a real
 * database and bucket servers of these tests.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { MediaStorageOptions } from "../../src/postgres/media_options.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  candidate,
  legacyBlock,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { queryOnce } from "../support/database.ts";
import { type GcsServer, startGcsServer } from "../support/media/gcs_server.ts";
import {
  everyRead,
  letNamesRest,
  mediaBlocks,
  newMediaId,
  onGcs,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import { plant } from "../support/plant.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";

/** Inserts the blocks past all rules, as a stream with an empty minipool. */
async function plantBlocks(
  { url, schema, storage }: TestStreamStorage,
  blocks: MiniblockDescriptor[],
): Promise<StreamId> {
  const id = newMediaId();
  const { partitions } = storage;
  await plant({ url, schema, partitions }, id, {
    latestSnapshot: 0n,
    blocks,
    minipool: [{ generation: blocks.at(-1)!.number + 1n, slot: -1 }],
  });
  return id;
}

function readsTheSame(
  location: string,
  mediaStorage: () => MediaStorageOptions,
): void {
  const shapes: Record<string, MiniblockDescriptor[]> = {
    "has a snapshot beside its genesis": mediaBlocks(),
    "has a snapshot inside its genesis": [
      legacyBlock(0),
      ...mediaBlocks().slice(1),
    ],
    "has no snapshot": mediaBlocks({ snapshot: "" }),
    "has only its genesis": mediaBlocks({ chunks: 0 }),
    "has snapshots everywhere": run(0, 4).map(snapshotBlock),
    "has a gap": run(0, 8).filter((n) => n < 3n || n > 4n).map(snapshotBlock),
    "has no beginning": run(2, 5).map(snapshotBlock),
  };
  for (const [what, blocks] of Object.entries(shapes)) {
    it(`reads the same as in the database if it ${what}`, async () => {
      await using test = await openTestStorage({
        mediaStorage: mediaStorage(),
        workerConcurrency: 0,
      });
      const { storage } = test;
      const id = await plantBlocks(test, blocks);
      const here = await everyRead(storage, id);
      const report = await storage.maintenance.offloadMedia({ streamId: id });
      assert.deepEqual(report, {
        offloaded: 1,
        streamIds: [id],
        bytes: blocks.reduce((sum, { data }) => sum + data.length, 0),
        deletedObjects: 0,
        failures: [],
      });
      assert.equal(await storage.streamMiniblocksStoredLocation(id), location);
      assert.deepEqual(await everyRead(storage, id), here);
      const { schema, url } = test;
      const [left] = await queryOnce(
        url,
        `SELECT (SELECT count(*) FROM "${schema}".miniblocks_m00)
          + (SELECT count(*) FROM "${schema}".miniblocks_m01) AS n`,
      );
      assert.equal(left!["n"], "0");
      // The second time, there is nothing to do.
      const again = await storage.maintenance.offloadMedia({ streamId: id });
      assert.equal(again.offloaded, 0);
      assert.deepEqual(await storage.maintenance.rehydrateMedia(id), {
        rehydrated: true,
        blocks: blocks.length,
        bytes: report.bytes,
      });
      assert.equal(await storage.streamMiniblocksStoredLocation(id), "db");
      assert.deepEqual(await everyRead(storage, id), here);
      const twice = await storage.maintenance.rehydrateMedia(id);
      assert.deepEqual(twice, { rehydrated: false, blocks: 0, bytes: 0 });
    });
  }
}

describe("A media stream in an S3 bucket", () => {
  let server: S3Server;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());
  readsTheSame("s3", () => onS3(server));
});

describe("A media stream in a GCS bucket", () => {
  let server: GcsServer;
  before(async () => {
    server = await startGcsServer();
  });
  after(() => server[Symbol.asyncDispose]());
  readsTheSame("gcs", () => onGcs(server));
});

describe("A stream in object storage", () => {
  let server: S3Server;
  let test: TestStreamStorage;
  before(async () => {
    server = await startS3Server();
    test = await openTestStorage({
      mediaStorage: onS3(server),
      workerConcurrency: 0,
    });
  });
  after(async () => {
    await test[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  async function offloaded(blocks = mediaBlocks()): Promise<StreamId> {
    const id = await sealMedia(test.storage, blocks);
    await test.storage.maintenance.offloadMedia({ streamId: id });
    return id;
  }

  const gets = () => server.requests.filter((line) => line.startsWith("GET"));

  it("needs one request for each run of blocks that is read", async () => {
    const id = await offloaded(mediaBlocks({ chunks: 9 }));
    server.requests.length = 0;
    await test.storage.readStreamFromLastSnapshot(id, 0);
    await test.storage.readMiniblocks(id, 3n, 7n);
    assert.equal(gets().length, 2);
    server.requests.length = 0;
    await test.storage.getLastMiniblockNumber(id);
    await test.storage.getMiniblockNumberRanges(id);
    await test.storage.debugReadStreamStatistics(id);
    assert.deepEqual(server.requests, []);
  });

  it("refuses every write", async () => {
    const { storage } = test;
    const id = await offloaded();
    const block = snapshotBlock(4);
    const minipool = { generation: 5n, envelopes: [] };
    const writes = [
      () =>
        storage.writeMiniblocks(id, [block], minipool, {
          generation: 4n,
          size: 0,
        }),
      () => storage.writePrecedingMiniblocks(id, [snapshotBlock(1)]),
      () => storage.reinitializeStreamStorage(id, [block], 4n, true),
      () => storage.writeArchiveMiniblocks(id, 4n, [block]),
      () => storage.writeArchiveMiniblocks(id, 0n, [block]),
      () => storage.trimStream(id, 0n, [1n]),
      () => storage.writeMiniblockCandidate(id, candidate(4)),
      () => storage.writeEvent(id, 4n, 0, block.data),
    ];
    for (const write of writes) {
      await assertFails(write(), {
        code: "FAILED_PRECONDITION",
        reason: "stored_externally",
      });
    }
    await assertFails(
      storage.createStreamStorage(id, snapshotBlock(0)),
      { code: "ALREADY_EXISTS", reason: "stream_exists" },
    );
    await assertFails(
      storage.writeEphemeralMiniblock(id, block),
      { code: "ALREADY_EXISTS", reason: "stream_not_ephemeral" },
    );
    await storage.maintenance.rehydrateMedia(id);
    await storage.writeMiniblocks(id, [block], minipool, {
      generation: 4n,
      size: 0,
    });
  });

  it("fails to read with a typed error if its object is not what was written", async () => {
    const { storage } = test;
    const { openS3Bucket } = await import("../../src/media/s3.ts");
    const bucket = openS3Bucket(server.options);
    const id = await offloaded();
    const name = `${test.schema}/${id}`;
    const { size } = (await bucket.headObject(name))!;
    const original = await bucket.getRange(name, { start: 0, size });
    const put = (content: Uint8Array) =>
      bucket.putObject(
        name,
        content.length,
        async function* () {
          yield await Promise.resolve(content);
        }(),
      );
    const read = () => storage.readMiniblocks(id, 0n, 9n);
    await put(original.slice(0, size - 1));
    await assertFails(read(), {
      code: "DOWNSTREAM_NETWORK_ERROR",
      reason: "object_too_short",
    });
    const flipped = original.slice();
    flipped[size - 10]! ^= 1;
    await put(flipped);
    await assertFails(read(), {
      code: "DOWNSTREAM_NETWORK_ERROR",
      reason: "checksum_mismatch",
    });
    // The undamaged blocks can be read.
    assert.equal(
      (await storage.readMiniblocks(id, 0n, 2n)).miniblocks.length,
      2,
    );
    await bucket.deleteObject(name);
    await assertFails(read(), {
      code: "MINIBLOCKS_NOT_FOUND",
      reason: "object_missing",
    });
    await assertFails(
      Array.fromAsync(storage.streamMiniblocks(id, 0n, 9n)),
      { code: "MINIBLOCKS_NOT_FOUND", reason: "object_missing" },
    );
    await put(original);
    assert.equal((await read()).miniblocks.length, 4);
  });

  it("is fetched again if its bytes were damaged on the way", async () => {
    const id = await offloaded();
    let left = 1;
    server.interfere = ({ method }, answer) =>
      method === "GET" && left-- > 0
        ? answer().then((reply) => {
          const body = (reply.body as Uint8Array).slice();
          body[body.length - 1]! ^= 1;
          return { ...reply, body };
        })
        : undefined;
    const { miniblocks } = await test.storage.readMiniblocks(id, 0n, 9n);
    server.interfere = undefined;
    assert.deepEqual(miniblocks, mediaBlocks());
  });

  const own = mediaBlocks({ snapshot: "" });
  const others = mediaBlocks({ chunks: 2, chunkBytes: 3000, snapshot: "" });
  for (
    const [what, change] of [
      ["moved back and forth", async (id) => {
        await test.storage.maintenance.rehydrateMedia(id);
      }],
      ["deleted and uploaded again", async (id) => {
        await test.storage.deleteStream(id);
        await sealMedia(test.storage, others, id);
      }],
    ] satisfies [string, (id: StreamId) => Promise<void>][]
  ) {
    for (const isKnown of [true, false]) {
      const hashes = isKnown ? "with" : "without";
      it(`is read again if it was ${what} meanwhile, ${hashes} known hashes`, async () => {
        const { storage, url, schema } = test;
        const isNew = what.includes("uploaded");
        // The answer comes while the object is gone, or when it is another one.
        for (const answered of ["gone", "there"]) {
          const id = await offloaded(own);
          if (!isKnown) {
            await queryOnce(
              url,
              `DELETE FROM "${schema}".stream_storage_media_blocks`,
            );
          }
          let left = 1;
          server.interfere = ({ method, target, headers }, answer) => {
            const isRead = method === "GET" && target.includes(id) &&
              headers.get("range") !== "bytes=0-0";
            if (!isRead || left-- === 0) return undefined;
            return (async () => {
              server.interfere = undefined;
              await change(id);
              const gone = answered === "gone" ? await answer() : undefined;
              await letNamesRest(test);
              await storage.maintenance.offloadMedia({ streamId: id });
              return gone ?? await answer();
            })();
          };
          const { miniblocks } = await storage.readMiniblocks(id, 0n, 9n);
          assert.equal(left, 0);
          assert.deepEqual(miniblocks, isNew ? others : own);
        }
      });
    }
  }

  it("needs the bucket that holds it", async () => {
    const id = await offloaded();
    const gcs = await startGcsServer();
    const { url, schema } = test;
    await test.storage.close();
    for (const mediaStorage of [undefined, onGcs(gcs)]) {
      await using other = await openStore({ url, schema, mediaStorage });
      const reason = "media_storage_not_configured";
      const calls = [
        () => other.readMiniblocks(id, 0n, 1n),
        () => other.readStreamFromLastSnapshot(id, 0),
        () => other.debugReadStreamData(id),
        () => other.maintenance.rehydrateMedia(id),
        () => other.deleteStream(id),
      ];
      for (const call of calls) {
        await assertFails(call(), { code: "FAILED_PRECONDITION", reason });
      }
      assert.equal(await other.streamMiniblocksStoredLocation(id), "s3");
      assert.equal(await other.getLastMiniblockNumber(id), 3n);
    }
    await using unconfigured = await openStore({ url, schema });
    for (
      const call of [
        () => unconfigured.maintenance.offloadMedia(),
        () => unconfigured.maintenance.reconcileMedia(),
      ]
    ) {
      await assertFails(
        call(),
        { code: "FAILED_PRECONDITION", reason: "media_storage_not_configured" },
      );
    }
    await gcs[Symbol.asyncDispose]();
  });
});

async function openStore(
  { url, schema, mediaStorage }: {
    url: string;
    schema: string;
    mediaStorage?: MediaStorageOptions | undefined;
  },
) {
  const { openStreamStorage } = await import(
    "../../src/open_stream_storage.ts"
  );
  return await openStreamStorage({
    url,
    schema,
    startupDelayMs: 0,
    workerConcurrency: 0,
    ...(mediaStorage === undefined ? {} : { mediaStorage }),
  });
}

describe("A read from object storage that does not answer", () => {
  it("ends at the call's deadline, or when its signal aborts", async () => {
    await using server = await startS3Server();
    await using test = await openTestStorage({
      mediaStorage: onS3(server),
      operationTimeoutMs: 500,
    });
    const { storage } = test;
    const id = await sealMedia(storage);
    await storage.maintenance.offloadMedia({ streamId: id });
    server.interfere = () => Promise.resolve("hang");
    for (
      const read of [
        () => storage.readMiniblocks(id, 0n, 9n),
        () => storage.readStreamFromLastSnapshot(id, 0),
        () => Array.fromAsync(storage.streamMiniblocks(id, 0n, 9n)),
      ]
    ) {
      await assertFails(read(), {
        code: "DEADLINE_EXCEEDED",
        reason: "object_storage_timeout",
      });
    }
    const abort = new AbortController();
    const { signal } = abort;
    const reading = storage.readMiniblocks(id, 0n, 9n, { signal });
    abort.abort(new Error("enough"));
    await assertFails(reading, { code: "CANCELED", reason: "aborted" });
    server.interfere = undefined;
    assert.equal((await storage.readMiniblocks(id, 0n, 9n)).terminus, true);
    const family = storage.metrics().find(({ definition }) =>
      definition.name === "stream_storage.object_storage.call.duration"
    );
    assert.ok(family !== undefined);
  });
});

describe("A stream that a node has moved to object storage", () => {
  it("can be read, and is searched for snapshots once", async () => {
    await using server = await startS3Server();
    await using test = await openTestStorage({
      mediaStorage: onS3(server),
      workerConcurrency: 0,
      partitions: 1,
    });
    const { storage, url, schema } = test;
    const blocks = [legacyBlock(0), ...mediaBlocks({ snapshot: "" }).slice(1)];
    const id = await plantBlocks(test, blocks);
    const here = await everyRead(storage, id);
    await storage.maintenance.offloadMedia({ streamId: id });
    // A node has all other rows, but none of these.
    await queryOnce(
      url,
      `DELETE FROM "${schema}".stream_storage_media_blocks`,
    );
    await storage.close();
    await using again = await openStore({
      url,
      schema,
      mediaStorage: onS3(server),
    });
    server.requests.length = 0;
    const ranges = await again.getMiniblockNumberRanges(id);
    assert.deepEqual(ranges[0]?.snapshotSeqNums, [0n]);
    assert.ok(server.requests.length > 0);
    server.requests.length = 0;
    await again.getMiniblockNumberRanges(id);
    assert.deepEqual(server.requests, []);
    assert.deepEqual(await everyRead(again, id), here);
    await again.maintenance.rehydrateMedia(id);
    assert.deepEqual(await everyRead(again, id), here);
  });
});

describe("A stream that the store has moved to object storage", () => {
  it("has the layout that a node gives it", async () => {
    await using server = await startS3Server();
    await using test = await openTestStorage({
      mediaStorage: onS3(server),
      workerConcurrency: 0,
      partitions: 1,
    });
    const { storage, url, schema } = test;
    const blocks = mediaBlocks();
    const id = await sealMedia(storage, blocks);
    await storage.maintenance.offloadMedia({ streamId: id });
    const rows = await queryOnce(
      url,
      `SELECT seq_num, start_byte, size FROM "${schema}".miniblocks_ext_m00
        WHERE stream_id = '${id}' ORDER BY seq_num`,
    );
    let start = 0;
    for (const [i, { data }] of blocks.entries()) {
      assert.deepEqual(rows[i], {
        seq_num: String(i),
        start_byte: String(start),
        size: String(data.length),
      });
      start += data.length;
    }
    const { openS3Bucket } = await import("../../src/media/s3.ts");
    const object = await openS3Bucket(server.options).getRange(
      `${schema}/${id}`,
      { start: 0, size: start },
    );
    assert.deepEqual(
      [...object],
      blocks.flatMap(({ data }) => [...data]),
    );
    const es = await queryOnce(
      url,
      `SELECT blockdata_ext, ephemeral, latest_snapshot_miniblock
        FROM "${schema}".es`,
    );
    assert.deepEqual(es, [{
      blockdata_ext: "S",
      ephemeral: false,
      latest_snapshot_miniblock: "0",
    }]);
  });
});
