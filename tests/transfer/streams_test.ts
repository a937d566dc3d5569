/** Streams that are moved by a file or from store to store stay the same. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  copyStreams,
  diffStreams,
  exportStreams,
  importStreams,
  verify,
} from "../../src/operator/mod.ts";
import { openStreamReader } from "../../src/open_stream_reader.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  bytes,
  candidate,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import {
  type EveryKind,
  type FilledSchema,
  fillSchema,
} from "../support/every_kind.ts";
import { mediaBlocks, onS3, sealMedia } from "../support/media/streams.ts";
import { startS3Server } from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";
import {
  contentsOf,
  differences,
  type EmptyStore,
  emptyStore,
  problems,
  temporaryDirectory,
} from "../support/transfer/transfer.ts";

describe("Transfers", () => {
  let source: FilledSchema;
  let ids: EveryKind;
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  const stack = new AsyncDisposableStack();

  before(async () => {
    directory = stack.use(await temporaryDirectory());
    source = stack.use(await fillSchema());
    ids = source.copies[0]!;
  });
  after(() => stack.disposeAsync());

  const from = () => ({ url: source.url, schema: source.schema });

  /** All streams except those that can't be read without object storage. */
  const movable = () =>
    Object.entries(ids).filter(([name]) =>
      name !== "nobody" && name !== "offloaded"
    ).map(([, id]) => id);

  /** The findings there, except for streams that can't be moved. */
  async function errorsIn({ url, schema }: { url: string; schema: string }) {
    const findings = await Array.fromAsync(verify({ url, schema }));
    return findings.filter(({ severity, streamId }) =>
      severity === "error" && streamId !== ids.offloaded
    ).map(({ finding, streamId }) => `${streamId} ${finding}`).sort();
  }

  /** Reads everything on both sides, without the servers' digests. */
  async function assertSame(
    target: EmptyStore,
    streamIds: readonly StreamId[] = movable(),
  ): Promise<void> {
    await using left = await openStreamReader(from());
    await using right = await openStreamReader({
      url: target.url,
      schema: target.schema,
    });
    for (const id of streamIds) {
      const [a, b] = [
        await left.debugReadStreamData(id),
        await right.debugReadStreamData(id),
      ];
      assert.deepEqual(b, a);
      assert.equal(
        await right.isStreamEphemeral(id),
        await left.isStreamEphemeral(id),
      );
    }
    assert.deepEqual(await errorsIn(target), await errorsIn(source));
  }

  for (const name of ["all", "all.gz"]) {
    it(`export and import streams of every kind: ${name}`, async () => {
      const file = directory.file(name);
      const left = problems();
      const made = await exportStreams({
        ...from(),
        onProblem: left.onProblem,
        file,
      });
      assert.deepEqual(left.found, { [ids.offloaded]: "outside" });
      assert.equal(made.streams, movable().length);
      await using target = await emptyStore({ partitions: 5 });
      const seen = [""];
      const summary = await importStreams({
        ...target.place,
        file,
        onProgress: ({ after }) => seen.at(-1) !== after && seen.push(after),
      });
      assert.equal(summary.written, made.streams);
      assert.equal(summary.problems, 0);
      assert.deepEqual(seen, ["", ...movable().sort()]);
      await assertSame(target);
      assert.deepEqual(await differences(source, target), {
        [ids.offloaded]: "left_only",
      });
    });
  }

  it("copy streams of every kind, and again those that have changed", async () => {
    await using target = await emptyStore({ partitions: 7 });
    const left = problems();
    const copy = () =>
      copyStreams({
        from: from(),
        to: target.place,
        onProblem: left.onProblem,
      });
    const first = await copy();
    assert.deepEqual(left.found, { [ids.offloaded]: "outside" });
    assert.equal(first.written, movable().length);
    await assertSame(target);
    const again = await copy();
    assert.equal(again.written, 0);
    assert.equal(again.equal, movable().length);
  });

  it("leave out a broken stream, and name it", async () => {
    await source.sql(
      `DELETE FROM @.minipools_{regular}
        WHERE stream_id = 'regular' AND slot_num = 1`,
    );
    try {
      const left = problems();
      const streamIds = [ids.regular, ids.fresh];
      const file = directory.file("broken");
      await exportStreams({
        ...from(),
        onProblem: left.onProblem,
        file,
        streamIds,
      });
      assert.deepEqual(left.found, { [ids.regular]: "broken" });
    } finally {
      await source.restore();
    }
  });

  it("export only existing streams, into a file that does not exist", async () => {
    const file = directory.file("taken");
    const streamIds = [ids.fresh];
    await exportStreams({ ...from(), file, streamIds });
    await assertFails(exportStreams({ ...from(), file, streamIds }), {
      code: "BAD_CONFIG",
      reason: "export_file",
    });
    await assertFails(
      exportStreams({
        ...from(),
        file: directory.file("none"),
        streamIds: [ids.nobody],
      }),
      { code: "NOT_FOUND", reason: "stream_not_found" },
    );
  });

  it("continue an interrupted export", async () => {
    const [whole, cut] = [directory.file("whole"), directory.file("cut")];
    await exportStreams({ ...from(), file: whole });
    const abort = new AbortController();
    await assertFails(
      exportStreams({
        ...from(),
        file: cut,
        concurrency: 1,
        signal: abort.signal,
        onProgress: ({ streams }) => streams === 5 && abort.abort(),
      }),
      { code: "CANCELED" },
    );
    await using target = await emptyStore();
    await assertFails(importStreams({ ...target.place, file: cut }), {
      code: "BAD_CONFIG",
      reason: "bad_export",
    });
    await exportStreams({ ...from(), file: cut, resume: true });
    await importStreams({ ...target.place, file: cut });
    await assertSame(target);
    await assertFails(
      exportStreams({ ...from(), file: cut, resume: true }),
      { code: "BAD_CONFIG", reason: "export_file" },
    );
  });

  describe("of a stream that exists", () => {
    let target: EmptyStore;
    let file: string;
    const id = newStreamId("space");
    const longer = newStreamId("space");

    /**
     * Blocks 0 to 9 with events and candidates; the target has some of them.
     */
    before(async () => {
      target = stack.use(await emptyStore({ partitions: 3 }));
      file = directory.file("longer");
      await using origin = await emptyStore();
      await origin.with(async (storage) => {
        for (const each of [id, longer]) {
          await storage.createStreamStorage(each, snapshotBlock(0));
          const blocks = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) =>
            number === 6 ? snapshotBlock(number) : block(number)
          );
          const next = { generation: 10n, envelopes: [bytes("a"), bytes("b")] };
          await storage.writeMiniblocks(each, blocks, next, { generation: 1n });
          await storage.writeMiniblockCandidate(each, candidate(10));
        }
      });
      const { url, schema } = origin;
      await exportStreams({ url, schema, file });
    });

    async function plant(numbers: number[], more: string[] = []) {
      await target.with(async (storage) => {
        if (await contentsOf(storage, id)) await storage.deleteStream(id);
        const [, ...rest] = numbers;
        await storage.createStreamStorage(id, snapshotBlock(0));
        const next = {
          generation: BigInt(numbers.at(-1)! + 1),
          envelopes: more.map((text) => bytes(text)),
        };
        const generation = { generation: 1n };
        await storage.writeMiniblocks(id, rest.map(block), next, generation);
      });
    }

    const run = async (
      existing?: "refuse" | "replace" | "extend",
      streamIds = [id],
    ) => {
      const left = problems();
      const summary = await importStreams({
        ...target.place,
        onProblem: left.onProblem,
        file,
        streamIds,
        ...(existing && { existing }),
      });
      return { ...summary, left: left.found };
    };

    async function lastOf(streamId = id) {
      return await target.with(async (storage) => {
        const { miniblocks, events, miniblockCandidates } = await storage
          .debugReadStreamData(streamId);
        const { minipoolEnvelopes } = await storage
          .readStreamFromLastSnapshot(streamId, 0);
        return [
          miniblocks.at(-1)!.number,
          events.length - 1,
          minipoolEnvelopes.length,
          miniblockCandidates.length,
        ];
      });
    }

    it("refuse it, and take the others", async () => {
      await plant([0, 1, 2], ["kept"]);
      const { written, left } = await run(undefined, [id, longer]);
      assert.equal(written, 1);
      assert.deepEqual(left, { [id]: "exists" });
      assert.deepEqual(await lastOf(), [2n, 1, 1, 0]);
      assert.deepEqual(await lastOf(longer), [9n, 2, 2, 1]);
    });

    it("extend it", async () => {
      await plant([0, 1, 2], ["old"]);
      const { written, left } = await run("extend");
      assert.deepEqual([written, left], [1, {}]);
      assert.deepEqual(await lastOf(), [9n, 2, 2, 1]);
      const again = await run("extend");
      assert.deepEqual([again.written, again.equal], [0, 1]);
    });

    it("do not extend one with other blocks or with more", async () => {
      await plant([0, 1, 2]);
      await target.with(async (storage) => {
        const next = { generation: 4n, envelopes: [] };
        const other = [{ number: 3n, data: bytes("another block") }];
        await storage.writeMiniblocks(id, other, next, { generation: 3n });
      });
      assert.deepEqual((await run("extend")).left, { [id]: "forked" });
      assert.deepEqual(await lastOf(), [3n, 0, 0, 0]);
      await plant([0, 1, 2, 3, 4, 5]);
      await target.with(async (storage) => {
        const blocks = [snapshotBlock(6), ...[7, 8, 9, 10, 11].map(block)];
        const next = { generation: 12n, envelopes: [] };
        await storage.writeMiniblocks(id, blocks, next, { generation: 6n });
      });
      assert.deepEqual((await run("extend")).left, { [id]: "ahead" });
      assert.deepEqual(await lastOf(), [11n, 0, 0, 0]);
    });

    it("replace it", async () => {
      await plant([0, 1, 2], ["old"]);
      await target.with(async (storage) => {
        const next = { generation: 4n, envelopes: [] };
        const other = [{ number: 3n, data: bytes("another block") }];
        await storage.writeMiniblocks(id, other, next, { generation: 3n });
      });
      const { written, left } = await run("replace");
      assert.deepEqual([written, left], [1, {}]);
      assert.deepEqual(await lastOf(), [9n, 2, 2, 1]);
    });

    it("refuse a schema with an owner, unless they may take over", async () => {
      await target.with(async () => {
        await assertFails(run("replace"), {
          code: "RESOURCE_EXHAUSTED",
          reason: "schema_owned",
        });
      });
    });
  });

  it("show what differs", async () => {
    await using target = await emptyStore({ partitions: 3 });
    await copyStreams({ from: from(), to: target.place });
    const only = newStreamId("space");
    await target.with(async (storage) => {
      const { regular, another, archive, legacy, trimmed } = ids;
      await storage.createStreamStorage(only, snapshotBlock(0));
      await storage.debugDeleteMiniblocks(regular, 0n, 1n);
      await storage.writeEvent(another, 5n, 3, bytes("one more"));
      await storage.deleteStream(legacy);
      await storage.debugDeleteMiniblocks(archive, 4n, 5n);
      const forked = [block(4)];
      await storage.writeArchiveMiniblocks(archive, 4n, forked);
      await storage.trimStream(trimmed, 7n, []);
    });
    const expected = {
      [only]: "right_only",
      [ids.regular]: "behind",
      [ids.another]: "ahead",
      [ids.legacy]: "left_only",
      [ids.archive]: "forked",
      [ids.trimmed]: "behind",
      [ids.offloaded]: "left_only",
    };
    assert.deepEqual(await differences(source, target), expected);
    const summary = await diffStreams({
      left: from(),
      right: { url: target.url, schema: target.schema },
      types: ["media"],
    });
    assert.equal(summary.different, 1);
  });

  it("fetch blocks in object storage, and compare with them", async () => {
    await using server = await startS3Server();
    const mediaStorage = onS3(server);
    await using test = await openTestStorage({ mediaStorage });
    const blocks = mediaBlocks({ chunks: 5, chunkBytes: 400_000 });
    const id = await sealMedia(test.storage, blocks);
    const { miniblocks } = (await contentsOf(test.storage, id))!;
    await test.storage.maintenance.offloadMedia({ streamId: id });
    assert.equal(await test.storage.streamMiniblocksStoredLocation(id), "s3");
    const { url, schema } = test;
    const outside = { url, schema, mediaStorage };
    const file = directory.file("media");
    const made = await exportStreams({ ...outside, file });
    assert.deepEqual([made.streams, made.problems], [1, 0]);
    await using target = await emptyStore();
    await importStreams({ ...target.place, file });
    await target.with(async (storage) => {
      assert.deepEqual((await contentsOf(storage, id))!.miniblocks, miniblocks);
    });
    const inside = { url: target.url, schema: target.schema };
    for (const [left, right] of [[outside, inside], [inside, outside]]) {
      const { equal } = await diffStreams({ left: left!, right: right! });
      assert.equal(equal, 1);
    }
    const to = target.place;
    const copied = await copyStreams({ from: outside, to });
    assert.deepEqual([copied.written, copied.equal], [0, 1]);
  });
});
