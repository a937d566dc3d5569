/**
 * The file of an export is complete, and an import refuses all of it if it has
 * any fault.
 */
import assert from "node:assert/strict";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import {
  exportStreams,
  importStreams,
  verifyExport,
} from "../../src/operator/mod.ts";
import {
  decodeExport,
  type ExportEvent,
} from "../../src/operator/transfer/format/decode.ts";
import { ExportEncoder } from "../../src/operator/transfer/format/encode.ts";
import type { StreamHead } from "../../src/operator/transfer/format/model.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import {
  assertFails,
  block,
  bytes,
  candidate,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { readByDoc } from "../support/transfer/export_reader.ts";
import {
  contentsOf,
  type EmptyStore,
  emptyStore,
  problems,
  temporaryDirectory,
} from "../support/transfer/transfer.ts";

describe("The file of an export", () => {
  const stack = new AsyncDisposableStack();
  const [id, ephemeral] = [newStreamId("space"), newStreamId("media")];
  let store: EmptyStore;
  let target: EmptyStore;
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let file: string;
  let content: Uint8Array;

  before(async () => {
    directory = stack.use(await temporaryDirectory());
    file = directory.file("small");
    store = stack.use(await emptyStore());
    target = stack.use(await emptyStore());
    await store.with(async (storage) => {
      await storage.createStreamStorage(id, snapshotBlock(0));
      const next = { generation: 3n, envelopes: [bytes("a"), bytes("b")] };
      const generation = { generation: 1n };
      await storage.writeMiniblocks(id, [block(1), block(2)], next, generation);
      await storage.writeMiniblockCandidate(id, candidate(3));
      await storage.createEphemeralStreamStorage(ephemeral, block(0));
    });
    const { url, schema } = store;
    await exportStreams({ url, schema, file });
    // A copy: the slices of a Buffer share its memory.
    content = new Uint8Array(await readFile(file));
  });
  after(() => stack.disposeAsync());

  async function* chunks(whole: Uint8Array, size = 64 * 1024) {
    for (let at = 0; at < whole.length; at += size) {
      yield whole.subarray(at, at + size);
    }
  }

  const decode = (whole: Uint8Array, size?: number): Promise<ExportEvent[]> =>
    Array.fromAsync(decodeExport(chunks(whole, size)));

  async function assertRefused(whole: Uint8Array, what: string): Promise<void> {
    const result = await decode(whole).then(
      () => undefined,
      (error: unknown) => error,
    );
    assert.ok(
      isStreamStorageError(result),
      `${what} is not refused: ${result}`,
    );
  }

  async function assertNothingWritten(): Promise<void> {
    await target.with(async (storage) => {
      assert.equal(await storage.getStreamsNumber(), 0);
    });
  }

  it("is readable for a program that knows only docs/export-format.md", async () => {
    const { header, streams } = readByDoc(file);
    assert.equal(header.format, "towns-streams");
    assert.equal(header.version, 1);
    assert.match(header.source, /^PostgreSQL \d+/);
    const [regular, other] = streams;
    assert.deepEqual([regular!.id, regular!.kind], [id, 0]);
    assert.deepEqual([other!.id, other!.kind], [ephemeral, 1]);
    const { miniblocks, events, miniblockCandidates } = await store.with(
      (storage) => storage.debugReadStreamData(id),
    );
    const none = new Uint8Array();
    assert.deepEqual(
      regular!.blocks,
      miniblocks.map(({ number, data, snapshot = none }) => ({
        ...{ number, snapshot, data },
      })),
    );
    assert.equal(regular!.generation, 3n);
    assert.deepEqual(regular!.events, events.slice(1).map(({ data }) => data));
    assert.deepEqual(
      regular!.candidates.map(({ number, data }) => ({ number, data })),
      miniblockCandidates.map(({ number, data }) => ({ number, data })),
    );
    assert.equal(other!.generation, undefined);
  });

  it("yields the same streams from chunks of any size", async () => {
    const expected = await decode(content);
    for (const size of [1, 2, 7, 100]) {
      assert.deepEqual(await decode(content, size), expected);
    }
  });

  it("is refused if any byte is changed", async () => {
    for (let at = 0; at < content.length; at++) {
      for (const flip of [0x01, 0x20, 0xff]) {
        const changed = content.slice();
        changed[at]! ^= flip;
        await assertRefused(changed, `Byte ${at} with ${flip}`);
      }
    }
  });

  it("is refused if it is cut anywhere, or has more bytes", async () => {
    for (let length = 0; length < content.length; length++) {
      await assertRefused(content.subarray(0, length), `${length} bytes`);
    }
    await assertRefused(new Uint8Array([...content, 0]), "A byte more");
    await assertRefused(new Uint8Array([...content, ...content]), "Twice");
  });

  it("is refused if records are left out, doubled or exchanged", async () => {
    const view = new DataView(content.buffer, content.byteOffset);
    const starts = [8];
    for (let at = 8; at < content.length;) {
      at += 4 + view.getUint32(at);
      starts.push(at);
    }
    const records = starts.slice(1).map((end, i) =>
      content.subarray(starts[i], end)
    );
    const join = (parts: Uint8Array[]) =>
      new Uint8Array([
        ...content.subarray(0, 8),
        ...parts.flatMap((p) => [...p]),
      ]);
    assert.deepEqual(join(records), new Uint8Array(content));
    for (const [i, record] of records.entries()) {
      await assertRefused(join(records.toSpliced(i, 1)), `Without record ${i}`);
      await assertRefused(join(records.toSpliced(i, 0, record)), `Two of ${i}`);
      if (i === 0) continue;
      const exchanged = records.toSpliced(i - 1, 2, record, records[i - 1]!);
      await assertRefused(join(exchanged), `${i} before ${i - 1}`);
    }
  });

  it("is not written at all if it is damaged at its end", async () => {
    const damaged = directory.file("damaged");
    const changed = content.slice();
    changed[changed.length - 1]! ^= 1;
    await writeFile(damaged, changed);
    const expected = { code: "BAD_CONFIG", reason: "bad_export" } as const;
    await assertFails(
      importStreams({ ...target.place, file: damaged }),
      expected,
    );
    await writeFile(damaged, content);
    await truncate(damaged, content.length - 1);
    await assertFails(verifyExport(damaged), expected);
    await assertFails(
      importStreams({ ...target.place, file: damaged }),
      expected,
    );
    await assertNothingWritten();
  });

  it("is refused if it is something else, or does not exist", async () => {
    for (
      const [name, text] of [["text", "-- PostgreSQL dump"], ["x.gz", "x"]]
    ) {
      const other = directory.file(name!);
      await writeFile(other, text!);
      const error = await verifyExport(other).catch((error) => error);
      assert.ok(isStreamStorageError(error, "BAD_CONFIG"));
    }
    await assertFails(verifyExport(directory.file("nowhere")), {
      code: "BAD_CONFIG",
      reason: "export_file",
    });
    const header = { format: "towns-streams", writer: "", source: "" };
    const encoder = new ExportEncoder();
    encoder.header({ ...header, version: 2 });
    encoder.trailer();
    const later = directory.file("later");
    await writeFile(later, encoder.take());
    await assertFails(verifyExport(later), {
      code: "BAD_CONFIG",
      reason: "unknown_export_version",
      details: { version: 2 },
    });
  });

  it("is refused if a stream in it would not load", async () => {
    const head: StreamHead = {
      streamId: id,
      kind: "regular",
      latestSnapshot: 0n,
    };
    const minipool = { generation: 1n, envelopes: [bytes("event")] };
    const tail = { minipool, candidates: [] };
    const data = bytes("data");
    const hash = "a".repeat(64);
    const cases = {
      "no blocks": [head, [], tail],
      "no minipool": [head, [0n], { ...tail, minipool: undefined }],
      "another generation": [head, [0n, 1n], tail],
      "blocks in disorder": [head, [1n, 0n], tail],
      "a block twice": [head, [0n, 0n], tail],
      "an empty event": [head, [0n], {
        ...tail,
        minipool: { generation: 1n, envelopes: [new Uint8Array()] },
      }],
      "a minipool of an ephemeral stream": [
        { ...head, kind: "ephemeral" },
        [0n],
        tail,
      ],
      "a stale candidate": [head, [0n], {
        ...tail,
        candidates: [{ number: 0n, hash, data }],
      }],
      "a snapshot below 0": [{ ...head, latestSnapshot: -1n }, [0n], tail],
    } as const;
    for (const [what, [head, numbers, tail]] of Object.entries(cases)) {
      const encoder = new ExportEncoder();
      encoder.header({
        format: "towns-streams",
        version: 1,
        writer: "",
        source: "",
      });
      encoder.begin(head);
      for (const number of numbers) encoder.block({ number, data });
      encoder.end(tail);
      encoder.trailer();
      await assertRefused(encoder.take(), what);
    }
  });

  it("does not count a withdrawn stream", async () => {
    const encoder = new ExportEncoder();
    encoder.header({
      format: "towns-streams",
      version: 1,
      writer: "",
      source: "",
    });
    const head: StreamHead = {
      streamId: id,
      kind: "archive",
      latestSnapshot: 0n,
    };
    encoder.begin(head);
    encoder.block({ number: 0n, data: bytes("old") });
    encoder.withdraw();
    encoder.begin(head);
    encoder.block({ number: 0n, data: bytes("new") });
    encoder.end({ minipool: undefined, candidates: [] });
    encoder.trailer();
    const withdrawn = directory.file("withdrawn");
    await writeFile(withdrawn, encoder.take());
    const { streams } = readByDoc(withdrawn);
    assert.deepEqual(streams.map(({ blocks }) => blocks[0]!.data), [
      bytes("new"),
    ]);
    await importStreams({ ...target.place, file: withdrawn });
    await target.with(async (storage) => {
      const { miniblocks } = (await contentsOf(storage, id))!;
      assert.deepEqual(miniblocks, [{ number: 0n, data: bytes("new") }]);
    });
  });

  it("is imported without streams whose ids a node can't read", async () => {
    const encoder = new ExportEncoder();
    encoder.header({
      ...{ format: "towns-streams", version: 1, writer: "", source: "" },
    });
    const good = newStreamId("space");
    const unreadable = `ee${"1".repeat(62)}` as StreamId;
    for (const streamId of [unreadable, good]) {
      encoder.begin({ streamId, kind: "archive", latestSnapshot: 0n });
      encoder.block({ number: 0n, data: bytes("block") });
      encoder.end({ minipool: undefined, candidates: [] });
    }
    encoder.trailer();
    const mixed = directory.file("mixed");
    await writeFile(mixed, encoder.take());
    const { found, onProblem } = problems();
    const { written } = await importStreams({
      ...target.place,
      file: mixed,
      onProblem,
    });
    assert.equal(written, 1);
    assert.deepEqual(found, { [unreadable]: "bad_id" });
    await target.with(async (storage) => {
      assert.ok((await storage.getStreams()).includes(good));
      assert.ok(!(await storage.getStreams()).includes(unreadable));
    });
  });
});
