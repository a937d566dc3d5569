/**
 * What each operation costs on the wire, counted by a proxy before a real
 * server: all but the rare ones take one flush, one Sync and one round trip.
 * golden/round_trips.txt has the table.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import { operationNames } from "../../src/storage/operations.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  mediaGenesis,
  newStreamId,
} from "../../src/testing/contract/support.ts";
import { callSample } from "../../src/testing/samples.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { assertGolden } from "../support/golden.ts";
import { startProxy } from "../support/network/proxy.ts";
import { makeSampleStream, sampleStreamOf } from "../support/sample_streams.ts";
import { openTestStorage } from "../support/storage.ts";

const data = new Uint8Array([1, 2, 3]);
const hash = new Uint8Array(32);
const block = (number: bigint) => ({ number, data, snapshot: data });
const big = new Uint8Array(100_000);

function large(first: bigint, count: number): MiniblockDescriptor[] {
  return Array.from(
    { length: count },
    (_, i) => ({ number: first + BigInt(i), data: big }),
  );
}

/** The streams of a round. */
interface Ids {
  regular: StreamId;
  media: StreamId;
  archive: StreamId;
  other: StreamId;
}

type Call = (storage: PostgresStreamStorage, ids: Ids) => Promise<unknown>;

/** The order matters: each call finds what the earlier ones have made. */
const calls: Record<string, Call> = {
  createStreamStorage: (s, { regular }) =>
    s.createStreamStorage(regular, block(0n)),
  writeEvent: (s, { regular }) => s.writeEvent(regular, 1n, 0, data),
  "writeEvent, the next": (s, { regular }) =>
    s.writeEvent(regular, 1n, 1, data),
  "writeEvent, 100 at once": (s, { regular }) =>
    Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        s.writeEvent(regular, 1n, 2 + i, data)),
    ),
  writeMiniblockCandidate: (s, { regular }) =>
    s.writeMiniblockCandidate(regular, { ...block(1n), hash }),
  "writeMiniblockCandidate, large": (s, { regular }) =>
    s.writeMiniblockCandidate(regular, { ...large(2n, 1)[0]!, hash }),
  readMiniblockCandidate: (s, { regular }) =>
    s.readMiniblockCandidate(regular, hash, 1n),
  getMiniblockCandidateCount: (s, { regular }) =>
    s.getMiniblockCandidateCount(regular, 1n),
  "writeMiniblocks, small": (s, { regular }) =>
    s.writeMiniblocks(
      regular,
      [block(1n)],
      { generation: 2n, envelopes: [data] },
      { generation: 1n, size: 102 },
    ),
  "writeMiniblocks, large": (s, { regular }) =>
    s.writeMiniblocks(
      regular,
      large(2n, 4),
      { generation: 6n, envelopes: [data] },
      { generation: 2n, size: 1 },
    ),
  readStreamFromLastSnapshot: (s, { regular }) =>
    s.readStreamFromLastSnapshot(regular, 1),
  readMiniblocks: (s, { regular }) => s.readMiniblocks(regular, 0n, 9n),
  "readMiniblocks, without snapshots": (s, { regular }) =>
    s.readMiniblocks(regular, 0n, 9n, { omitSnapshot: true }),
  "streamMiniblocks, one page": (s, { regular }) =>
    Array.fromAsync(s.streamMiniblocks(regular, 0n, 9n)),
  getLastMiniblockNumber: (s, { regular }) => s.getLastMiniblockNumber(regular),
  "getMiniblockNumberRanges, the first time": (s, { regular }) =>
    s.getMiniblockNumberRanges(regular),
  getMiniblockNumberRanges: (s, { regular }) =>
    s.getMiniblockNumberRanges(regular),
  isStreamEphemeral: (s, { regular }) => s.isStreamEphemeral(regular),
  streamMiniblocksStoredLocation: (s, { regular }) =>
    s.streamMiniblocksStoredLocation(regular),
  debugReadStreamData: (s, { regular }) => s.debugReadStreamData(regular),
  debugReadStreamStatistics: (s, { regular }) =>
    s.debugReadStreamStatistics(regular),
  getStreams: (s) => s.getStreams({ limit: 10 }),
  getStreamsNumber: (s) => s.getStreamsNumber(),
  trimStream: (s, { regular }) => s.trimStream(regular, 1n, []),
  "reinitializeStreamStorage, a new stream": (s, { other }) =>
    s.reinitializeStreamStorage(other, [block(3n), block(4n)], 4n, false),
  writePrecedingMiniblocks: (s, { other }) =>
    s.writePrecedingMiniblocks(other, [block(1n), block(2n)]),
  "reinitializeStreamStorage, a known one": (s, { other }) =>
    s.reinitializeStreamStorage(other, [block(4n), block(5n)], 5n, true),
  createStreamArchiveStorage: (s, { archive }) =>
    s.createStreamArchiveStorage(archive),
  writeArchiveMiniblocks: (s, { archive }) =>
    s.writeArchiveMiniblocks(archive, 0n, [block(0n)]),
  "writeArchiveMiniblocks, many": (s, { archive }) =>
    s.writeArchiveMiniblocks(
      archive,
      1n,
      Array.from({ length: 1500 }, () => block(0n)),
    ),
  "streamMiniblocks, two pages": (s, { archive }) =>
    Array.fromAsync(s.streamMiniblocks(archive, 0n, 2000n)),
  "writeArchiveMiniblocks, large snapshots": (s, { archive }) =>
    s.writeArchiveMiniblocks(
      archive,
      1501n,
      Array.from({ length: 3 }, () => ({
        ...block(0n),
        snapshot: new Uint8Array(450_000),
      })),
    ),
  "streamMiniblocks, two pages of snapshots": (s, { archive }) =>
    Array.fromAsync(s.streamMiniblocks(archive, 1501n, 2000n)),
  "streamMiniblocks, without snapshots": (s, { archive }) =>
    Array.fromAsync(
      s.streamMiniblocks(archive, 1501n, 2000n, { omitSnapshot: true }),
    ),
  getMaxArchivedMiniblockNumber: (s, { archive }) =>
    s.getMaxArchivedMiniblockNumber(archive),
  createEphemeralStreamStorage: (s, { media }) =>
    s.createEphemeralStreamStorage(media, mediaGenesis(2).genesis),
  writeEphemeralMiniblock: (s, { media }) =>
    s.writeEphemeralMiniblock(media, block(1n)),
  "writeEphemeralMiniblock, large": (s, { media }) =>
    s.writeEphemeralMiniblock(media, large(2n, 1)[0]!),
  readEphemeralMiniblockNums: (s, { media }) =>
    s.readEphemeralMiniblockNums(media),
  normalizeEphemeralStream: (s, { media }) => s.normalizeEphemeralStream(media),
  debugDeleteMiniblocks: (s, { media }) =>
    s.debugDeleteMiniblocks(media, 1n, 2n),
  deleteStream: (s, { regular }) => s.deleteStream(regular),
};

/** Operations that are not in the table above run on their sample stream. */
const others = operationNames().filter((name) =>
  !Object.keys(calls).some((call) => call.split(",")[0] === name)
);

/** Rare calls, which read before they write, or read in several steps. */
const rare = new Set([
  "getMiniblockNumberRanges, the first time",
  "reinitializeStreamStorage, a new stream",
  "reinitializeStreamStorage, a known one",
  "writePrecedingMiniblocks",
  "writeArchiveMiniblocks",
  "writeArchiveMiniblocks, many",
  "writeArchiveMiniblocks, large snapshots",
  "streamMiniblocks, two pages",
  "streamMiniblocks, two pages of snapshots",
  "normalizeEphemeralStream",
]);

describe("Round trips", () => {
  it("are one for every operation that is not rare", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      // One connection for writes, one for reads.
      maxConnections: 3,
      partitions: 1,
    });
    const table: string[] = [];
    for (const round of [1, 2]) {
      const ids = {
        regular: newStreamId(),
        media: newStreamId("media"),
        archive: newStreamId(),
        other: newStreamId(),
      };
      const samples = others.map(async (name) => {
        const id = await makeSampleStream(test.storage, sampleStreamOf(name));
        return [
          name,
          (s: PostgresStreamStorage) => callSample(s, name, id),
        ] as const;
      });
      const all = [...Object.entries(calls), ...await Promise.all(samples)];
      for (const [name, call] of all) {
        proxy.resetCounts();
        await call(test.storage, ids);
        // The first round prepares the statements.
        if (round === 1) continue;
        const { roundTrips, syncs } = proxy.counts;
        if (!rare.has(name)) {
          assert.deepEqual([roundTrips, syncs], [1, 1], name);
        }
        table.push(`${name.padEnd(42)}${roundTrips} ${syncs}\n`);
      }
    }
    const title = `${"operation".padEnd(42)}round trips, syncs\n`;
    await assertGolden("round_trips.txt", title + table.join(""));
  });
});
