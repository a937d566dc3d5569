/**
 * A real process is killed at each request that it sends while it moves a
 * stream to a bucket or back: the stream stays whole.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openS3Bucket } from "../../src/media/s3.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import {
  everyRead,
  letNamesRest,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import { runProgram } from "../support/programs/run_program.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";

const mediaProgram = new URL("../support/media/program.ts", import.meta.url);

describe("A process that is killed while it moves a stream", () => {
  let server: S3Server;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());

  for (const what of ["offload", "rehydrate"] as const) {
    it(`by ${what} leaves the whole stream in one place`, async () => {
      await using test = await openTestStorage({ mediaStorage: onS3(server) });
      const { url, schema } = test;
      const id = await sealMedia(test.storage);
      const expected = await everyRead(test.storage, id);
      if (what === "rehydrate") {
        await test.storage.maintenance.offloadMedia({ streamId: id });
      }
      await test.storage.close();
      const open = () =>
        openStreamStorage({
          url,
          schema,
          mediaStorage: onS3(server),
          workerConcurrency: 0,
          startupDelayMs: 0,
        });
      const outcomes = new Set<string>();
      // It is killed before and after each request, until it reaches its end.
      for (let step = 0, isKilled = true; isKilled; step++) {
        isKilled = false;
        let left = Math.floor(step / 2) + 1;
        const { process, ended } = runProgram(mediaProgram, [
          url,
          schema,
          id,
          JSON.stringify(onS3(server)),
          what,
        ]);
        server.interfere = (_, answer) => {
          if (--left !== 0) return undefined;
          isKilled = true;
          if (step % 2 === 0) {
            process.kill("SIGKILL");
            return ended.then(() => "reset");
          }
          // The process may get the answer first, and go on for a moment.
          return answer().then((reply) => {
            queueMicrotask(() => process.kill("SIGKILL"));
            return reply;
          });
        };
        const { code } = await ended;
        server.interfere = undefined;
        assert.equal(code === 0, !isKilled);
        await letNamesRest(test);
        await using storage = await open();
        const location = await storage.streamMiniblocksStoredLocation(id);
        outcomes.add(location);
        assert.deepEqual(await everyRead(storage, id), expected);
        // What the process has left does not stop the way back.
        if (what === "offload" && location === "s3") {
          await storage.maintenance.rehydrateMedia(id);
        } else if (what === "rehydrate" && location === "db") {
          await storage.maintenance.offloadMedia({ streamId: id });
        }
        assert.deepEqual(await everyRead(storage, id), expected);
      }
      assert.deepEqual([...outcomes].sort(), ["db", "s3"]);
      await using storage = await open();
      await storage.deleteStream(id);
      const bucket = openS3Bucket(server.options);
      assert.equal(await bucket.headObject(`${schema}/${id}`), undefined);
    });
  }
});
