/** The command `media` at work, on a bucket of a real S3 server. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { openS3Bucket } from "../../src/media/s3.ts";
import { openStreamReader } from "../../src/open_stream_reader.ts";
import { runCommand } from "../support/programs/command.ts";
import { newMediaId, onS3, sealMedia } from "../support/media/streams.ts";
import { startS3Server } from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";

it("compares the bucket with the database, and brings a stream back", async () => {
  await using server = await startS3Server();
  const mediaStorage = onS3(server);
  await using test = await openTestStorage({ mediaStorage, partitions: 2 });
  const { schema, storage, url } = test;
  const [whole, broken] = [await sealMedia(storage), await sealMedia(storage)];
  await storage.maintenance.offloadMedia();
  await storage.close();
  const objects = openS3Bucket(server.options);
  await objects.deleteObject(`${schema}/${broken}`);
  await objects.putObject(
    `${schema}/${newMediaId()}`,
    7,
    async function* () {
      yield await Promise.resolve(new Uint8Array(7));
    }(),
  );

  const folder = await mkdtemp(join(tmpdir(), "stream-storage-bucket-"));
  try {
    const bucket = join(folder, "bucket.json");
    await writeFile(bucket, JSON.stringify(mediaStorage), { mode: 0o600 });
    const media = (...args: string[]) =>
      runCommand(["media", ...args, "--schema", schema], { url }).ended;
    const printed = async (...args: string[]) => {
      const { code, stdout, stderr } = await media(...args);
      assert.doesNotMatch(stdout + stderr, /secretAccessKey|secret/i);
      return [code, stdout.trimEnd().split("\n")] as const;
    };

    assert.deepEqual(await printed("reconcile", "--bucket", bucket), [1, [
      "2 objects, 2 streams in the bucket",
      "Unused: 1, 7 B, 1 too young to be deleted",
      "Not ours: 0",
      "Streams whose object is missing: 1, damaged: 0, in both places: 0",
      `  ${broken}`,
      "Deleted: none, see --apply",
    ]]);
    // A young object may belong to an upload.
    const [code, lines] = await printed(
      "reconcile",
      "--apply",
      "--bucket",
      bucket,
    );
    assert.deepEqual([code, lines.at(-1)], [1, "Deleted: 0"]);

    const back = await media("rehydrate", whole, "--json", "--bucket", bucket);
    assert.equal(back.code, 0, back.stderr);
    assert.equal(JSON.parse(back.stdout).rehydrated, true);
    assert.deepEqual(await printed("rehydrate", whole, "--bucket", bucket), [
      0,
      ["The stream is in the database already"],
    ]);
    // The blocks are in the database, so no bucket is needed.
    await using reader = await openStreamReader({ url, schema });
    const { miniblocks } = await reader.readMiniblocks(whole, 0n, 9n);
    assert.notEqual(miniblocks.length, 0);
    const [, status] = await printed("status");
    assert.match(status.join("\n"), /^database +1$/m);
  } finally {
    await rm(folder, { recursive: true });
  }
});
