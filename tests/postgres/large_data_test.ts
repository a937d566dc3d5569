/**
 * Numbers, payloads, minipools and streams at their limits, on a real server: all
 * of it is stored and read, in bounded memory, and no read loads data in vain.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { Session } from "../../src/database/session.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  bytes,
  candidate,
  hashOf,
  MAX_NUMBER,
  newStreamId,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { openSession } from "../support/migration_connection.ts";
import { giveArguments } from "../support/programs/program_arguments.ts";
import type { ReadReport } from "../support/programs/large_stream_reader.ts";
import { openTestStorage } from "../support/storage.ts";
import { untilSeen } from "../support/until.ts";

const MB = 1024 * 1024;

/** A payload of this size that differs for each number. */
function payload(size: number, number: bigint | number): Uint8Array {
  const data = new Uint8Array(size).fill(Number(number) % 251);
  new DataView(data.buffer).setBigUint64(0, BigInt(number));
  return data;
}

/** Fills an archive stream with blocks from 0 on, many a call. */
async function fillArchive(
  { storage }: TestStreamStorage,
  id: StreamId,
  size: { blocks: number; blockBytes: number; perCall: number },
): Promise<void> {
  await storage.createStreamArchiveStorage(id);
  for (let start = 0; start < size.blocks; start += size.perCall) {
    const miniblocks = run(start, start + size.perCall - 1)
      .map((number) => ({ number, data: payload(size.blockBytes, number) }));
    await storage.writeArchiveMiniblocks(id, BigInt(start), miniblocks);
  }
}

describe("A store with large data", () => {
  let test: TestStreamStorage;
  let session: Session;

  before(async () => {
    test = await openTestStorage({
      partitions: 1,
      // One connection for writes, one for reads.
      maxConnections: 3,
      operationTimeoutMs: 60_000,
    });
    session = await openSession(test.url);
  });

  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
  });

  it("accepts numbers up to 2^63 - 1", async () => {
    const { storage } = test;
    const id = newStreamId();
    const last = MAX_NUMBER - 1n;
    const genesis = { ...snapshotBlock(last - 2n), snapshot: bytes("first") };
    await storage.reinitializeStreamStorage(id, [genesis], last - 2n, false);
    await storage.writeMiniblockCandidate(id, candidate(last - 1n));
    await storage.writeMiniblockCandidate(id, candidate(MAX_NUMBER));
    await storage.writeEvent(id, last - 1n, 0, bytes("event"));
    await storage.writeMiniblocks(
      id,
      [snapshotBlock(last - 1n), block(last)],
      { generation: MAX_NUMBER, envelopes: [bytes("left")] },
      { generation: last - 1n, size: 1 },
    );
    await storage.writeEvent(id, MAX_NUMBER, 1, bytes("last"));
    await storage.writePrecedingMiniblocks(id, [block(0), block(1)]);
    assert.deepEqual(await storage.debugReadStreamData(id), {
      streamId: id,
      latestSnapshotMiniblockNum: last - 1n,
      miniblocks: [
        block(0),
        block(1),
        genesis,
        snapshotBlock(last - 1n),
        block(last),
      ],
      events: [
        { generation: MAX_NUMBER, slot: -1 },
        { generation: MAX_NUMBER, slot: 0, data: bytes("left") },
        { generation: MAX_NUMBER, slot: 1, data: bytes("last") },
      ],
      miniblockCandidates: [candidate(MAX_NUMBER)],
    });
    assert.equal(await storage.getLastMiniblockNumber(id), last);
    const { miniblocks, terminus } = await storage.readMiniblocks(
      id,
      last - 1n,
      MAX_NUMBER,
    );
    assert.deepEqual(miniblocks, [snapshotBlock(last - 1n), block(last)]);
    assert.equal(terminus, false);
    await storage.trimStream(id, last - 1n, [MAX_NUMBER]);
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), [{
      startInclusive: last - 1n,
      endInclusive: last,
      snapshotSeqNums: [last - 1n],
    }]);
    const rows = await session.script(
      `SELECT max(seq_num) FROM "${test.schema}".miniblocks_r00`,
    );
    assert.deepEqual(rows, [[String(last)]]);
  });

  it("accepts envelopes of 1 MB, and blocks and snapshots of 16 MB", async () => {
    const { storage } = test;
    const id = newStreamId();
    const big = (number: bigint): MiniblockDescriptor => ({
      number,
      data: payload(16 * MB, number),
      snapshot: payload(16 * MB, number + 100n),
    });
    const envelopes = [0, 1, 2].map((slot) => payload(MB, slot));
    await storage.createStreamStorage(id, big(0n));
    await Promise.all(
      envelopes.map((event, slot) => storage.writeEvent(id, 1n, slot, event)),
    );
    const proposed = { ...big(1n), hash: hashOf("a") };
    await storage.writeMiniblockCandidate(id, proposed);
    assertSame(
      await storage.readMiniblockCandidate(id, proposed.hash, 1n),
      proposed,
    );
    await storage.writeMiniblocks(
      id,
      [big(1n), { ...big(2n), snapshot: new Uint8Array() }],
      { generation: 3n, envelopes },
      { generation: 1n, size: 3 },
    );
    const view = await storage.readStreamFromLastSnapshot(id, 1);
    assert.equal(view.snapshotMiniblockOffset, 1);
    assertSame(view.miniblocks, [
      big(0n),
      big(1n),
      { number: 2n, data: payload(16 * MB, 2n) },
    ]);
    assertSame(view.minipoolEnvelopes, envelopes);
    await storage.deleteStream(id);
  });

  it("writes, reads and swaps a minipool of 20 000 events", async () => {
    const { storage } = test;
    const id = newStreamId();
    const events = run(0, 19_999).map((slot) => payload(200, slot));
    await storage.createStreamStorage(id, snapshotBlock(0));
    await Promise.all(
      events.map((event, slot) => storage.writeEvent(id, 1n, slot, event)),
    );
    const before = await storage.readStreamFromLastSnapshot(id, 0);
    assertSame(before.minipoolEnvelopes, events);
    await storage.writeMiniblocks(
      id,
      [block(1)],
      { generation: 2n, envelopes: events.toReversed() },
      { generation: 1n, size: events.length },
    );
    await storage.writeEvent(id, 2n, events.length, bytes("next"));
    const view = await storage.readStreamFromLastSnapshot(id, 0);
    assertSame(view.minipoolEnvelopes, [
      ...events.toReversed(),
      bytes("next"),
    ]);
    await storage.deleteStream(id);
  });

  it("writes and reads thousands of blocks above 0, with gaps", async () => {
    const { storage } = test;
    const id = newStreamId();
    const start = 2n ** 40n;
    const blocks = (first: bigint) =>
      run(first, first + 1999n).map((number) => ({
        number,
        data: payload(5000, number),
        ...(number === first ? { snapshot: bytes("snapshot") } : {}),
      }));
    const [older, newer] = [blocks(start), blocks(start + 5000n)] as const;
    await storage.reinitializeStreamStorage(id, older, start, false);
    await storage.reinitializeStreamStorage(id, newer, start + 5000n, true);
    const view = await storage.readStreamFromLastSnapshot(id, 10_000);
    assertSame(view.miniblocks, newer);
    const pages = await Array.fromAsync(
      storage.streamMiniblocks(id, start, start + 2000n),
    );
    assertSame(pages, older);
    await assert.rejects(
      Array.fromAsync(storage.streamMiniblocks(id, start, start + 6000n)),
      {
        code: "MINIBLOCKS_NOT_FOUND",
        details: {
          reason: "miniblock_gap",
          streamId: id,
          expected: start + 2000n,
          actual: start + 5000n,
        },
      },
    );
    await storage.deleteStream(id);
  });

  it("lists 25 000 streams", async () => {
    const { storage } = test;
    const idOf = (n: number) => n.toString(16).padStart(64, "0") as StreamId;
    const es = `"${test.schema}".es`;
    await session.script(
      `INSERT INTO ${es} (stream_id, latest_snapshot_miniblock)
        SELECT lpad(to_hex(n), 64, '0'), 0 FROM generate_series(1, 25000) AS n`,
    );
    const ids = run(1, 25_000).map((n) => idOf(Number(n)));
    const isListed = (id: string) => id.startsWith("0".repeat(60));
    assertSame((await storage.getStreams()).filter(isListed), ids);
    assertSame(
      await storage.getStreams({ limit: 20_000 }),
      ids.slice(0, 20_000),
    );
    const after = idOf(4000);
    assertSame(
      await storage.getStreams({ after, limit: 12_345 }),
      ids.slice(4000, 16_345),
    );
    await session.script(`DELETE FROM ${es} WHERE stream_id < '01'`);
  });

  it("streams blocks that are larger than a page, with their snapshots", async () => {
    const { storage } = test;
    const id = newStreamId();
    const sizes = [3, 3, 0.01, 9, 0.01, 5, 1, 1, 1, 1, 1, 0.01];
    const blocks = sizes.map((megabytes, i): MiniblockDescriptor => ({
      number: BigInt(i),
      data: payload(Math.round(megabytes * MB), i),
      ...(i % 3 === 0 ? { snapshot: payload(2 * MB, i + 100) } : {}),
    }));
    await storage.createStreamArchiveStorage(id);
    await storage.writeArchiveMiniblocks(id, 0n, blocks);
    const read = (options: { omitSnapshot: boolean }) =>
      Array.fromAsync(storage.streamMiniblocks(id, 0n, 99n, options));
    assertSame(await read({ omitSnapshot: false }), blocks);
    assertSame(
      await read({ omitSnapshot: true }),
      blocks.map(({ number, data }) => ({ number, data })),
    );
    await storage.deleteStream(id);
  });

  it("streams 200 MB in bounded memory", async () => {
    const id = newStreamId();
    const blockBytes = 100 * 1024;
    await using writer = await openTestStorage({ partitions: 1 });
    await fillArchive(writer, id, { blocks: 2000, blockBytes, perCall: 200 });
    await writer.storage.close();
    const report = await readLargeStream(writer.url, writer.schema, id);
    assert.equal(report.blocks, 2000);
    assert.equal(report.bytes, 2000 * blockBytes);
    const grown = Math.round(report.grownBytes / MB);
    assert.ok(grown < 64, `Memory grew by ${grown} MB`);
  });

  it("reads no data from the disk that the caller does not want", async () => {
    const blockBytes = 50 * 1024;
    const [id, other] = [newStreamId(), newStreamId()];
    await using reader = await openReader(session, async (writer) => {
      await fillArchive(writer, id, { blocks: 2000, blockBytes, perCall: 500 });
      const snapshot = payload(blockBytes, 0);
      const blocks = run(0, 49).map((n) => ({ ...block(n), snapshot }));
      await writer.storage.reinitializeStreamStorage(other, blocks, 0n, true);
    });
    const { storage, pagesOf } = reader;
    const dataPages = blockBytes / 8192;

    const ranges = () => storage.getMiniblockNumberRanges(id);
    const first = await pagesOf(ranges);
    assert.ok(first.data > 2000 * dataPages);
    const second = await pagesOf(ranges);
    assert.ok(second.rows > 0);
    assert.equal(second.data, 0);
    assert.deepEqual(await ranges(), [
      { startInclusive: 0n, endInclusive: 1999n, snapshotSeqNums: [] },
    ]);

    // To know that there is a block before it costs nothing.
    const one = await pagesOf(() => storage.readMiniblocks(id, 1000n, 1001n));
    assert.ok(one.data > 0 && one.data < 1.5 * dataPages, `${one.data} pages`);

    const options = { omitSnapshot: true };
    const omitted = await pagesOf(() =>
      storage.readMiniblocks(other, 0n, 50n, options)
    );
    assert.ok(omitted.rows > 0);
    assert.equal(omitted.data, 0);
    const streamed = await pagesOf(() =>
      Array.fromAsync(storage.streamMiniblocks(other, 0n, 50n, options))
    );
    assert.ok(streamed.rows > 0);
    assert.equal(streamed.data, 0);
  });
});

/** Pages of 8 KB that the server has read. */
interface PagesRead {
  streams: number;
  /** Pages of the rows of blocks. */
  rows: number;
  /** Pages of the TOAST table, which holds large values. */
  data: number;
}

interface Reader extends AsyncDisposable {
  storage: PostgresStreamStorage;
  /** The pages that the server read for a call. */
  pagesOf(call: () => Promise<unknown>): Promise<PagesRead>;
}

/** Opens a store with one connection for reads, and no other work. */
async function openReader(
  session: Session,
  fill: (writer: TestStreamStorage) => Promise<void>,
): Promise<Reader> {
  await using stack = new AsyncDisposableStack();
  const applicationName = `writer ${crypto.randomUUID()}`;
  const options = { partitions: 1, applicationName };
  const writer = stack.use(await openTestStorage(options));
  const { url, schema } = writer;
  await fill(writer);
  await writer.storage.close();
  // A server process reports its reads at its end at the latest.
  const isOver = async () => {
    const [row] = await session.script(
      `SELECT count(*) FROM pg_stat_activity
        WHERE application_name = '${applicationName}'`,
    );
    return row![0] === "0";
  };
  await untilSeen(isOver);

  const storage = stack.use(
    await openStreamStorage({
      url,
      schema,
      maxConnections: 3,
      startupDelayMs: 0,
    }),
  );
  const pagesOfRead = async (): Promise<PagesRead> => {
    const before = await pagesRead(session, schema);
    for (;;) {
      // Otherwise it reports all its reads together at the end of a transaction,
      // once a second. This call reads the streams; when that shows, all reads
      // show.
      await storage.getStreamsNumber();
      const now = await pagesRead(session, schema);
      if (now.streams > before.streams) return now;
      await delay(20);
    }
  };
  const cleanUp = stack.move();
  return {
    storage,
    pagesOf: async (call) => {
      const before = await pagesOfRead();
      await call();
      const { streams, rows, data } = await pagesOfRead();
      return {
        streams: streams - before.streams,
        rows: rows - before.rows,
        data: data - before.data,
      };
    },
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}

async function pagesRead(
  session: Session,
  schema: string,
): Promise<PagesRead> {
  const rows = await session.script(
    `SELECT heap_blks_read + heap_blks_hit, idx_blks_read + idx_blks_hit,
        toast_blks_read + toast_blks_hit
      FROM pg_statio_user_tables WHERE schemaname = '${schema}'
        AND relname IN ('es', 'miniblocks_r00') ORDER BY relname`,
  );
  const [streams, blocks] = rows.map((row) => row.map(Number));
  return {
    streams: streams![0]! + streams![1]!,
    rows: blocks![0]!,
    data: blocks![2]!,
  };
}

async function readLargeStream(
  ...args: [url: string, schema: string, id: string]
): Promise<ReadReport> {
  const program = new URL(
    "../support/programs/large_stream_reader.ts",
    import.meta.url,
  );
  const reader = spawn(
    process.execPath,
    [
      "run",
      ...("Deno" in globalThis ? ["-A"] : []),
      fileURLToPath(program),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  giveArguments(reader, args);
  const ended = once(reader, "close");
  let printed = "";
  reader.stdout.on("data", (chunk) => printed += chunk);
  await ended;
  return JSON.parse(printed);
}

/** Does what `deepEqual` does, but prints no megabytes. */
function assertSame(actual: unknown, expected: unknown): void {
  assert.ok(isDeepStrictEqual(actual, expected), "Expected what was written");
}
