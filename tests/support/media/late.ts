/**
 * The tests, for any bucket, of requests that change an object and that the
 * bucket executes late: after the stream was created and moved again by this
 * process, by another one or by a new owner.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { it } from "node:test";
import { openStreamStorage } from "../../../src/open_stream_storage.ts";
import type { MediaStorageOptions } from "../../../src/postgres/media_options.ts";
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../../src/storage/errors.ts";
import type { MiniblockDescriptor } from "../../../src/storage/model.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { TestStreamStorage } from "../../../src/testing/create_test_stream_storage.ts";
import { queryOnce } from "../database.ts";
import type { HeldRequest, Holding } from "./held_requests.ts";
import { letNamesRest, mediaBlocks, newMediaId, sealMedia } from "./streams.ts";
import type { RawRequest } from "./raw_http.ts";
import { openTestStorage } from "../storage.ts";

/** A bucket, and the test's control over the way to it. */
export interface Ground {
  options(): MediaStorageOptions;
  hold(holding: Holding): Promise<HeldRequest>;
  requests(): string[];
  /** Advances the bucket's clock. */
  advance(ms: number): void;
  /** Refuses the requests that fit; undefined ends that. */
  refuse(fits: ((request: RawRequest) => boolean) | undefined): void;
}

/** Whether a request deletes an object. */
export const isDelete = ({ method, url }: RawRequest) =>
  method === "DELETE" && !url.searchParams.has("uploadId");
/** Whether a request makes an object of a single part. */
export const isPut = ({ method, url }: RawRequest) =>
  method === "PUT" && !url.searchParams.has("partNumber");
/** Whether a request makes an object of its parts. */
export const isComplete = ({ method, url }: RawRequest) =>
  method === "POST" && url.searchParams.has("uploadId");

/** As many blocks and bytes, with other content. */
function otherBlocks(blocks: MiniblockDescriptor[]): MiniblockDescriptor[] {
  return blocks.map((block, i) => {
    if (i === 0) return block;
    // A loop, because a callback for each of six million bytes takes a while.
    const data = block.data.slice();
    for (let at = 0; at < data.length; at++) data[at]! ^= 1;
    return { ...block, data };
  });
}

/** Opens another store on the schema; does not close the open one. */
function openAgain(
  { url, schema }: TestStreamStorage,
  ground: Ground,
): Promise<PostgresStreamStorage> {
  return openStreamStorage({
    url,
    schema,
    mediaStorage: ground.options(),
    workerConcurrency: 0,
    startupDelayMs: 0,
  });
}

/** Moves streams; where a name must rest, it advances the bucket's clock. */
class Mover {
  readonly #advance: (ms: number) => void;
  rests = 0;

  constructor({ advance }: Ground) {
    this.#advance = advance;
  }

  /** Moves a stream, as soon as its name allows it. */
  async move(storage: PostgresStreamStorage, id: StreamId): Promise<void> {
    const move = () => storage.maintenance.offloadMedia({ streamId: id });
    try {
      await move();
    } catch (error) {
      if (!isStreamStorageError(error)) throw error;
      assert.equal(error.details["reason"], "object_name_rests");
      assert.ok(error.retryable);
      const ms = Number(error.details["retryAfterMs"]);
      assert.ok(ms > 900_000 && ms <= 960_000, `The name rests for ${ms} ms`);
      this.rests++;
      this.#advance(ms + 1000);
      await move();
    }
    const location = await storage.streamMiniblocksStoredLocation(id);
    assert.notEqual(location, "db");
  }
}

/** Reads the stream and compares it with the blocks. */
export async function assertWhole(
  storage: PostgresStreamStorage,
  id: StreamId,
  blocks: MiniblockDescriptor[],
): Promise<void> {
  const read = (await storage.readMiniblocks(id, 0n, 99n)).miniblocks;
  assert.deepEqual(
    read.map(({ number }) => number),
    blocks.map((b) => b.number),
  );
  for (const [i, { data }] of read.entries()) {
    assert.ok(
      Buffer.compare(data, blocks[i]!.data) === 0,
      `Block ${i} is not what was written`,
    );
  }
}

/** The recorded changes of objects that the bucket may still execute. */
export function changesOf(
  { url, schema }: TestStreamStorage,
): Promise<unknown[]> {
  return queryOnce(
    url,
    `SELECT stream_id FROM "${schema}".stream_storage_media_changes`,
  );
}

/** Defines the tests; `rests` says whether names rest, as S3 needs it. */
export function lateRequestsDoNoHarm(
  ground: () => Ground,
  { rests }: { rests: boolean },
): void {
  const small = () => mediaBlocks();
  const inParts = () => mediaBlocks({ chunks: 2, chunkBytes: 3_000_000 });

  async function opened() {
    const test = await openTestStorage({ mediaStorage: ground().options() });
    return { test, mover: new Mover(ground()), id: newMediaId() };
  }

  for (const what of ["the same", "other"]) {
    it(`to DELETE does no harm after a stream of ${what} bytes was created again`, async () => {
      const { test, mover, id } = await opened();
      await using _ = test;
      const { storage } = test;
      const blocks = what === "other" ? otherBlocks(small()) : small();
      await sealMedia(storage, small(), id);
      await mover.move(storage, id);
      const held = ground().hold({ fits: isDelete });
      await storage.deleteStream(id);
      await sealMedia(storage, blocks, id);
      await mover.move(storage, id);
      await (await held).deliver();
      await assertWhole(storage, id, blocks);
      assert.equal(mover.rests, rests ? 1 : 0);
    });
  }

  it("to DELETE does no harm after the stream was rehydrated and moved again", async () => {
    const { test, mover, id } = await opened();
    await using _ = test;
    const { storage } = test;
    await sealMedia(storage, small(), id);
    await mover.move(storage, id);
    const held = ground().hold({ fits: isDelete });
    await storage.maintenance.rehydrateMedia(id);
    await mover.move(storage, id);
    await (await held).deliver();
    await assertWhole(storage, id, small());
    assert.equal(mover.rests, rests ? 1 : 0);
  });

  const uploads = [
    ["to PUT", isPut, small],
    ["to finish an upload", isComplete, inParts],
  ] as const;
  for (const [what, fits, blocksOf] of uploads) {
    it(`${what} does no harm after a retry and a move of other bytes`, async () => {
      const { test, mover, id } = await opened();
      await using _ = test;
      const { storage } = test;
      const others = otherBlocks(blocksOf());
      await sealMedia(storage, blocksOf(), id);
      const held = ground().hold({ fits });
      await mover.move(storage, id);
      await storage.deleteStream(id);
      await sealMedia(storage, others, id);
      await mover.move(storage, id);
      await (await held).deliver();
      await assertWhole(storage, id, others);
    });

    it(`${what} does no harm after its move was given up`, async () => {
      const { test, mover, id } = await opened();
      await using _ = test;
      const { storage } = test;
      const others = otherBlocks(blocksOf());
      await sealMedia(storage, blocksOf(), id);
      const held = ground().hold({ fits });
      ground().refuse(fits);
      await assert.rejects(storage.maintenance.offloadMedia({ streamId: id }), {
        code: "DOWNSTREAM_NETWORK_ERROR",
      });
      ground().refuse(undefined);
      await storage.deleteStream(id);
      await sealMedia(storage, others, id);
      await mover.move(storage, id);
      await (await held).deliver();
      await assertWhole(storage, id, others);
      assert.equal(mover.rests, rests ? 1 : 0);
    });

    it(`${what} does no harm while a new owner uploads to the same name`, async () => {
      const { test, mover, id } = await opened();
      await using _ = test;
      const others = otherBlocks(blocksOf());
      await sealMedia(test.storage, blocksOf(), id);
      const held = ground().hold({ fits, client: "hang" });
      const abandoned = test.storage.maintenance.offloadMedia({ streamId: id });
      const failed = assert.rejects(abandoned);
      await held;
      await using owner = await openAgain(test, ground());
      await owner.deleteStream(id);
      await sealMedia(owner, others, id);
      await mover.move(owner, id);
      await (await held).deliver();
      await assertWhole(owner, id, others);
      assert.equal(mover.rests, rests ? 1 : 0);
      (await held).disconnect();
      await test.storage.close();
      await failed;
      await assertWhole(owner, id, others);
    });
  }

  it("to DELETE does no harm with restarts between all steps", async () => {
    const { test, mover, id } = await opened();
    await using _ = test;
    const others = otherBlocks(small());
    await sealMedia(test.storage, small(), id);
    await mover.move(test.storage, id);
    const held = ground().hold({ fits: isDelete });
    await test.storage.deleteStream(id);
    await test.storage.close();
    {
      await using storage = await openAgain(test, ground());
      await sealMedia(storage, others, id);
    }
    {
      await using storage = await openAgain(test, ground());
      await mover.move(storage, id);
    }
    await using storage = await openAgain(test, ground());
    await (await held).deliver();
    await assertWhole(storage, id, others);
    assert.equal(mover.rests, rests ? 1 : 0);
  });

  it("to DELETE does no harm if a former owner sent it", async () => {
    const { test, mover, id } = await opened();
    await using _ = test;
    const others = otherBlocks(small());
    await sealMedia(test.storage, small(), id);
    await mover.move(test.storage, id);
    const held = ground().hold({ fits: isDelete, client: "hang" });
    const deleted = test.storage.deleteStream(id).catch(() => {});
    await held;
    await using owner = await openAgain(test, ground());
    await sealMedia(owner, others, id);
    await mover.move(owner, id);
    await (await held).deliver();
    await assertWhole(owner, id, others);
    assert.equal(mover.rests, rests ? 1 : 0);
    (await held).disconnect();
    await test.storage.close();
    await deleted;
    await assertWhole(owner, id, others);
  });

  it("is not even sent when a former owner gives its move up", async () => {
    const { test, mover, id } = await opened();
    await using _ = test;
    await sealMedia(test.storage, small(), id);
    // The owner has uploaded the object and reads it back when it is replaced.
    const held = ground().hold({
      fits: ({ method }) => method === "GET",
      client: "hang",
    });
    const moving = test.storage.maintenance.offloadMedia({ streamId: id });
    const failed = assert.rejects(moving);
    await held;
    await using owner = await openAgain(test, ground());
    await mover.move(owner, id);
    const before = ground().requests().length;
    (await held).disconnect();
    await test.storage.close();
    await failed;
    const sent = ground().requests().slice(before);
    assert.deepEqual(sent.filter((line) => line.startsWith("DELETE")), []);
    await assertWhole(owner, id, small());
  });

  it("may leave an object behind, which is removed when it is due", async () => {
    const { test, mover, id } = await opened();
    await using _ = test;
    const { storage } = test;
    const { maintenance } = storage;
    // Now the store knows whether the server supports conditions.
    const other = await sealMedia(storage);
    await mover.move(storage, other);
    await sealMedia(storage, small(), id);
    const held = ground().hold({ fits: isPut });
    ground().refuse(isPut);
    await assert.rejects(maintenance.offloadMedia({ streamId: id }));
    ground().refuse(undefined);
    await storage.deleteStream(id);
    // The store looks for the object, which is not there yet.
    await maintenance.offloadMedia();
    assert.equal((await (await held).deliver()).status, 200);
    const unused = async () =>
      (await maintenance.reconcileMedia({ dryRun: true })).unused;
    assert.equal(await unused(), 1);
    await maintenance.offloadMedia();
    assert.equal(await unused(), 1, "The object is not due yet");
    assert.equal((await changesOf(test)).length, 1);
    await letNamesRest(test);
    await maintenance.offloadMedia();
    assert.equal(await unused(), 0);
    assert.deepEqual(await changesOf(test), []);
    assert.equal(mover.rests, 0);
  });

  it("is not expected after a move whose requests were all answered", async () => {
    const { test, mover, id } = await opened();
    await using _ = test;
    const { storage } = test;
    for (const blocks of [small(), inParts()]) {
      await sealMedia(storage, blocks, id);
      await mover.move(storage, id);
      await storage.maintenance.rehydrateMedia(id);
      await mover.move(storage, id);
      ground().refuse(({ method }) => method === "DELETE");
      await storage.deleteStream(id);
      ground().refuse(undefined);
      assert.deepEqual(await changesOf(test), []);
    }
    assert.equal(mover.rests, 0);
  });
}
