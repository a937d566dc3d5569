/**
 * A large media stream in a process of its own, whose memory is measured while
 * it moves.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runLargeMedia } from "../support/media/large_media.ts";

const MB = 1024 * 1024;

describe("A media stream of several parts", () => {
  // `deno task soak:media` does the same with 300 MB.
  it("moves to a bucket and back in bounded memory, while others are served", async () => {
    const report = await runLargeMedia(24);
    assert.equal(report.bytes, report.expectedBytes);
    const most = Math.max(...Object.values(report.grownBytes));
    assert.ok(most < 100 * MB, `Memory grew by ${Math.round(most / MB)} MB`);
    const { writes, reads } = report.served;
    assert.ok(writes > 0 && reads > 0);
  });
});
