/**
 * A verification finds damaged blocks in object storage, and wrong places of
 * blocks.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { verify, type VerifyOptions } from "../../src/operator/mod.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { queryOnce } from "../support/database.ts";
import { onS3, sealMedia } from "../support/media/streams.ts";
import { chain } from "../support/protocol_blocks.ts";
import {
  type Interference,
  type S3Server,
  startS3Server,
} from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";

describe("A verification of blocks in object storage", () => {
  let bucket: S3Server;
  let test: TestStreamStorage;
  /**
   * A stream as nodes write it, and one whose last block belongs to another
   * chain.
   */
  let right: StreamId;
  let wrong: StreamId;

  before(async () => {
    bucket = await startS3Server();
    test = await openTestStorage({ mediaStorage: onS3(bucket) });
    const { storage } = test;
    right = await sealMedia(
      storage,
      chain({ count: 4, chunks: 3, legacy: [0] }),
    );
    const blocks = chain({ count: 4, chunks: 3 });
    blocks[3] = chain({ first: 3, count: 1 })[0]!;
    wrong = await sealMedia(storage, blocks);
    for (const streamId of [right, wrong]) {
      await storage.maintenance.offloadMedia({ streamId });
    }
  });
  after(async () => {
    await test?.[Symbol.asyncDispose]();
    await bucket?.[Symbol.asyncDispose]();
  });

  async function found(
    options: Partial<VerifyOptions> = {},
    interfere?: Interference,
  ): Promise<string[]> {
    const { url, schema } = test;
    bucket.interfere = interfere;
    try {
      const run = verify({
        url,
        schema,
        level: "deep",
        mediaStorage: onS3(bucket),
        ...options,
      });
      const findings = await Array.fromAsync(run);
      return findings.map(({ finding, streamId, details }) =>
        `${finding} ${streamId === right ? "right" : "wrong"} ${
          details["block"] ?? ""
        }`.trim()
      ).sort();
    } finally {
      bucket.interfere = undefined;
    }
  }

  const brokenChain = "broken_chain wrong 3";

  it("decodes the blocks and follows their chain", async () => {
    assert.deepEqual(await found(), [brokenChain]);
    assert.deepEqual(await found({ since: 2 }), [brokenChain]);
    assert.deepEqual(await found({ streamIds: [right] }), []);
    assert.deepEqual(await found({ level: "structure" }), []);
  });

  it("reports bytes that differ from the uploaded ones", async () => {
    const flipped: Interference = ({ method }, answer) =>
      method !== "GET" ? undefined : answer().then((reply) => {
        const body = (reply.body as Uint8Array).slice();
        body[body.length - 1]! ^= 1;
        return { ...reply, body };
      });
    assert.deepEqual(await found({}, flipped), [
      "hash_mismatch right 3",
      "hash_mismatch wrong 3",
    ]);
  });

  it("reports an object that is gone", async () => {
    const gone: Interference = ({ target }) =>
      target.includes(right)
        ? Promise.resolve({
          status: 404,
          body: "<Error><Code>NoSuchKey</Code></Error>",
        })
        : undefined;
    assert.deepEqual(await found({}, gone), [brokenChain, "location right"]);
  });

  it("reports nothing about a stream that is deleted meanwhile", async () => {
    const { url, schema } = test;
    const deleted: Interference = ({ method, target }, answer) =>
      method !== "GET" || !target.includes(wrong) ? undefined : queryOnce(
        url,
        `DELETE FROM "${schema}".es WHERE stream_id = '${wrong}'`,
      )
        .then(answer);
    const left = await found({ streamIds: [wrong] }, deleted);
    assert.deepEqual(left, []);
  });
});
