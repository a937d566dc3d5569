/** Every hot operation is one flush and one answer, counted on the wire. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PostgresStreamStorage } from "../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../src/storage/stream_id.ts";
import { newStreamId } from "../src/testing/contract/support.ts";
import { testDatabaseUrl } from "./support/database.ts";
import { startProxy } from "./support/proxy.ts";
import { openTestStorage } from "./support/storage.ts";

const data = new Uint8Array([1, 2, 3]);
const hash = new Uint8Array(32);
const block = (number: bigint) => ({ number, data, snapshot: data });
const big = new Uint8Array(100_000);

type Call = (storage: PostgresStreamStorage, id: StreamId) => Promise<unknown>;

/** In this order, so that each finds what it needs. */
const calls: [string, Call][] = [
  ["writeEvent", (s, id) => s.writeEvent(id, 1n, 0, data)],
  ["writeEvent, the next", (s, id) => s.writeEvent(id, 1n, 1, data)],
  [
    "writeMiniblockCandidate",
    (s, id) => s.writeMiniblockCandidate(id, { ...block(1n), hash }),
  ],
  ["readMiniblockCandidate", (s, id) => s.readMiniblockCandidate(id, hash, 1n)],
  [
    "getMiniblockCandidateCount",
    (s, id) => s.getMiniblockCandidateCount(id, 1n),
  ],
  [
    "writeMiniblocks, small",
    (s, id) =>
      s.writeMiniblocks(
        id,
        [block(1n)],
        { generation: 2n, envelopes: [data] },
        {
          generation: 1n,
        },
      ),
  ],
  ["writeMiniblocks, large", (s, id) =>
    s.writeMiniblocks(
      id,
      [2n, 3n, 4n, 5n].map((number) => ({ number, data: big })),
      { generation: 6n, envelopes: [data] },
      { generation: 2n, size: 1 },
    )],
  [
    "readStreamFromLastSnapshot",
    (s, id) => s.readStreamFromLastSnapshot(id, 1),
  ],
  ["readMiniblocks", (s, id) => s.readMiniblocks(id, 0n, 9n)],
  ["getLastMiniblockNumber", (s, id) => s.getLastMiniblockNumber(id)],
  ["getStreams", (s) => s.getStreams({ limit: 10 })],
  ["getStreamsNumber", (s) => s.getStreamsNumber()],
  ["deleteStream", (s, id) => s.deleteStream(id)],
];

describe("One flush and one answer for", () => {
  it("every hot operation", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      maxConnections: 3,
      partitions: 1,
    });
    const { storage } = test;
    const counted: Record<string, number> = {};
    for (const round of [1, 2]) {
      const id = newStreamId();
      proxy.resetCounts();
      await storage.createStreamStorage(id, block(0n));
      counted.createStreamStorage = proxy.counts.roundTrips;
      for (const [name, call] of calls) {
        proxy.resetCounts();
        await call(storage, id);
        counted[name] = proxy.counts.roundTrips;
        // With its statements prepared, an operation needs one Sync, too.
        if (round === 2) assert.equal(proxy.counts.syncs, 1, name);
      }
    }
    for (const [name, roundTrips] of Object.entries(counted)) {
      assert.equal(roundTrips, 1, name);
    }
  });
});
