/**
 * Moves to a bucket and back that fail: the store closes while the bucket is
 * silent, the bucket refuses a request or damages the object, the stream changes,
 * or the connection to a real database is cut. The stream stays whole.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openS3Bucket } from "../../src/media/s3.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import { partitionSuffix, type StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  bytes,
} from "../../src/testing/contract/support.ts";
import { assertSurvivesCuts } from "../support/cut_everywhere.ts";
import { queryOnce } from "../support/database.ts";
import { assertWhole } from "../support/media/late.ts";
import type { RawRequest } from "../support/media/raw_http.ts";
import { denied } from "../support/media/real_replies.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";
import {
  everyRead,
  mediaBlocks,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import { openTestStorage } from "../support/storage.ts";

describe("Closing a store", () => {
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
    it(`does not wait for a bucket that falls silent when a move ${what}`, async (context) => {
      // No timeout of more than a second ends, so only closing ends the calls.
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
        // These calls wait for their turn.
        maintenance.offloadMedia({ streamId: id }),
        maintenance.rehydrateMedia(id),
      ].map((call) =>
        assertFails(call, { code: "FAILED_PRECONDITION", reason: "closed" })
      );
      await hanging.promise;
      await storage.close();
      await Promise.all(ends);
    });
  }
});

describe("A move", () => {
  let server: S3Server;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());
  const bucket = () => openS3Bucket(server.options);
  const idle = () =>
    openTestStorage({ mediaStorage: onS3(server), workerConcurrency: 0 });

  it("keeps the rows if the object reads back differently", async () => {
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
    await assertFails(moving, {
      code: "DOWNSTREAM_NETWORK_ERROR",
      reason: "checksum_mismatch",
    });
    server.interfere = undefined;
    assert.equal(await storage.streamMiniblocksStoredLocation(id), "db");
    assert.deepEqual(await everyRead(storage, id), before);
  });

  it("keeps the object if not all of the rows are back", async () => {
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
    await assertFails(bringing, {
      code: "DB_OPERATION_FAILURE",
      reason: "stream_changed",
    });
    server.interfere = undefined;
    assert.equal(await storage.streamMiniblocksStoredLocation(id), "s3");
    await storage.maintenance.rehydrateMedia(id);
    await assertWhole(storage, id, blocks);
  });

  it("leaves no object if the stream changed meanwhile", async () => {
    await using test = await idle();
    const { storage, schema, url } = test;
    const id = await sealMedia(storage);
    const name = `${schema}/${id}`;
    const partition = partitionSuffix(id, storage.partitions);
    const changes = [
      () => storage.writeEvent(id, 4n, 0, bytes("event")),
      // A foreign writer changes bytes, but not their number.
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
      await assertFails(moving, {
        code: "DB_OPERATION_FAILURE",
        reason: "stream_changed",
      });
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

  const objects = [["one part", 1000], ["several parts", 3_000_000]] as const;
  for (const [what, chunkBytes] of objects) {
    it(`that fails at any request leaves a stream of ${what} as it was`, async () => {
      await using test = await openTestStorage({
        mediaStorage: onS3(server),
        workerConcurrency: 0,
        operationTimeoutMs: 30_000,
      });
      const { storage } = test;
      const { maintenance } = storage;
      const id = await sealMedia(
        storage,
        mediaBlocks({ chunkBytes }),
      );
      const expected = await storage.readStreamFromLastSnapshot(id, 0);
      const check = async (location: string) => {
        assert.equal(
          await storage.streamMiniblocksStoredLocation(id),
          location,
        );
        const view = await storage.readStreamFromLastSnapshot(id, 0);
        assert.ok(isSame(view, expected), "It is not what was written");
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

  it("survives a cut of its database connection at any message", async () => {
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

/** The id of a media stream, made of another stream's id. */
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
