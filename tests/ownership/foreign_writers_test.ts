/**
 * Every write takes the lock on the stream's row and passes the fence, which
 * keep the writers of one schema apart. A foreign writer is an existing node,
 * or an instance that took over unnoticed; here a session on a real server
 * plays it.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  bytes,
  candidate,
  type ExpectedError,
  mediaGenesis,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { openSession } from "../support/migration_connection.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

const large = new Uint8Array(100_000).fill(1);

describe("A write to a stream that a node is writing to", () => {
  let test: TestStreamStorage;
  let session: Session;

  before(async () => {
    test = await openTestStorage({
      partitions: 1,
      debugTransactions: true,
      operationTimeoutMs: 60_000,
    });
    session = await openSession(test.url);
  });
  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
  });

  /** Makes block 1 as a node does, but does not commit yet. */
  async function swap(id: StreamId): Promise<void> {
    await session.script(
      `BEGIN; SET LOCAL search_path = "${test.schema}";
       SELECT 1 FROM es WHERE stream_id = '${id}' FOR UPDATE;
       DELETE FROM minipools_r00 WHERE stream_id = '${id}';
       DELETE FROM miniblock_candidates_r00 WHERE stream_id = '${id}'
         AND seq_num < 2;
       INSERT INTO miniblocks_r00 VALUES ('${id}', 1, 'block 1');
       INSERT INTO minipools_r00 VALUES ('${id}', 2, -1)`,
    );
  }

  const writes: Record<
    string,
    [(s: PostgresStreamStorage, id: StreamId) => Promise<void>, ExpectedError]
  > = {
    "an event": [
      (s, id) => s.writeEvent(id, 1n, 0, bytes("event")),
      { code: "DB_OPERATION_FAILURE", reason: "minipool_generation_mismatch" },
    ],
    "a large event": [
      (s, id) => s.writeEvent(id, 1n, 0, large),
      { code: "DB_OPERATION_FAILURE", reason: "minipool_generation_mismatch" },
    ],
    "a candidate": [
      (s, id) => s.writeMiniblockCandidate(id, candidate(1)),
      { code: "MINIBLOCKS_STORAGE_FAILURE", reason: "candidate_too_old" },
    ],
    "a large candidate": [
      (s, id) =>
        s.writeMiniblockCandidate(id, { ...candidate(1), data: large }),
      { code: "MINIBLOCKS_STORAGE_FAILURE", reason: "candidate_too_old" },
    ],
  };
  for (const [name, [write, expected]] of Object.entries(writes)) {
    it(`waits for the node's commit: ${name}`, async () => {
      const { storage } = test;
      const id = newStreamId();
      await storage.createStreamStorage(id, snapshotBlock(0));
      await swap(id);
      const started = storage.dumpTxTracker().at(-1);
      let isOver = false;
      const result = assertFails(write(storage, id), expected)
        .finally(() => (isOver = true));
      // The server has refused the write at least once. A write that does not
      // wait is over instead.
      const wasRefused = () => {
        const records = storage.dumpTxTracker();
        const since = records.findLastIndex((record) =>
          record.event === started?.event && record.name === started.name &&
          record.tags === started.tags
        );
        return records.slice(since + 1)
          .some(({ event }) => event === "rollback");
      };
      await until(() => isOver || wasRefused());
      await session.script("COMMIT");
      await result;
      const view = await storage.readStreamFromLastSnapshot(id, 0);
      assert.deepEqual(view.minipoolEnvelopes, []);
      assert.equal(await storage.getMiniblockCandidateCount(id, 1n), 0);
    });
  }
});

/** Every write, to the stream that it needs; some writes have several ways. */
const writes: Record<
  string,
  (s: PostgresStreamStorage, ids: Ids) => Promise<unknown>
> = {
  createStreamStorage: (s, { unknown }) =>
    s.createStreamStorage(unknown, block(0)),
  "createStreamStorage, large": (s, { unknown }) =>
    s.createStreamStorage(unknown, { number: 0n, data: large }),
  "createStreamStorage, a repair": (s, { broken }) =>
    s.createStreamStorage(broken, block(0)),
  createEphemeralStreamStorage: (s, { unknown }) =>
    s.createEphemeralStreamStorage(unknown, block(0)),
  createStreamArchiveStorage: (s, { unknown }) =>
    s.createStreamArchiveStorage(unknown),
  "reinitializeStreamStorage, new": (s, { unknown }) =>
    s.reinitializeStreamStorage(unknown, [snapshotBlock(0)], 0n, true),
  "reinitializeStreamStorage, known": (s, { regular }) =>
    s.reinitializeStreamStorage(regular, [snapshotBlock(9)], 9n, true),
  deleteStream: (s, { regular }) => s.deleteStream(regular),
  writeEvent: (s, { regular }) => s.writeEvent(regular, 4n, 0, bytes("event")),
  writeMiniblocks: (s, { regular }) =>
    s.writeMiniblocks(regular, [block(4)], { generation: 5n, envelopes: [] }, {
      generation: 4n,
    }),
  "writeMiniblocks, large": (s, { regular }) =>
    s.writeMiniblocks(
      regular,
      [{ number: 4n, data: large }],
      { generation: 5n, envelopes: [] },
      { generation: 4n },
    ),
  writePrecedingMiniblocks: (s, { regular }) =>
    s.writePrecedingMiniblocks(regular, [block(2)]),
  writeArchiveMiniblocks: (s, { archive }) =>
    s.writeArchiveMiniblocks(archive, 0n, [block(0)]),
  writeEphemeralMiniblock: (s, { media }) =>
    s.writeEphemeralMiniblock(media, block(5)),
  "writeEphemeralMiniblock, large": (s, { media }) =>
    s.writeEphemeralMiniblock(media, { number: 5n, data: large }),
  "writeEphemeralMiniblock, the first": (s, { unknown }) =>
    s.writeEphemeralMiniblock(unknown, block(5)),
  normalizeEphemeralStream: (s, { media }) => s.normalizeEphemeralStream(media),
  writeMiniblockCandidate: (s, { regular }) =>
    s.writeMiniblockCandidate(regular, candidate(4)),
  "writeMiniblockCandidate, large": (s, { regular }) =>
    s.writeMiniblockCandidate(regular, { ...candidate(4), data: large }),
  trimStream: (s, { regular }) => s.trimStream(regular, 3n, []),
  debugDeleteMiniblocks: (s, { regular }) =>
    s.debugDeleteMiniblocks(regular, 3n, 4n),
};

interface Ids {
  unknown: StreamId;
  regular: StreamId;
  broken: StreamId;
  archive: StreamId;
  media: StreamId;
}

describe("An owner that was replaced unnoticed", () => {
  let test: TestStreamStorage;
  let session: Session;
  let owner: string;
  const ids: Ids = {
    unknown: newStreamId("media"),
    regular: newStreamId(),
    broken: newStreamId(),
    archive: newStreamId(),
    media: newStreamId("media"),
  };

  before(async () => {
    test = await openTestStorage({ partitions: 1 });
    session = await openSession(test.url);
    const { storage, schema } = test;
    owner = `"${schema}".singlenodekey`;
    const given = [snapshotBlock(3)];
    await storage.reinitializeStreamStorage(ids.regular, given, 3n, true);
    await storage.createStreamArchiveStorage(ids.archive);
    await storage.writeEphemeralMiniblock(ids.media, mediaGenesis(0).genesis);
    await storage.createStreamStorage(ids.broken, block(0));
    await session.script(
      `UPDATE "${schema}".miniblocks_r00 SET blockdata = ''
        WHERE stream_id = '${ids.broken}'`,
    );
    await storage.close();
    // With the triggers, the owner would notice the changes below.
    await session.script(`ALTER TABLE ${owner} DISABLE TRIGGER ALL`);
  });
  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
  });

  async function allRows(): Promise<unknown> {
    const tables = [
      "es",
      "stream_storage_ephemeral",
      ...["r00", "m00"].flatMap((suffix) => [
        `miniblocks_${suffix}`,
        `minipools_${suffix}`,
        `miniblock_candidates_${suffix}`,
      ]),
    ];
    return await session.script(
      tables.map((table) =>
        `SELECT row::text FROM "${test.schema}".${table} AS row`
      ).join(" UNION ALL ") + " ORDER BY 1",
    );
  }

  async function assertStopped(change: string, name: string): Promise<void> {
    const { url, schema } = test;
    await using storage = await openStreamStorage({
      url,
      schema,
      startupDelayMs: 0,
      maxConnections: 3,
    });
    const before = await allRows();
    await session.script(change);
    await assertFails(writes[name]!(storage, ids), {
      code: "RESOURCE_EXHAUSTED",
      reason: "ownership_lost",
      operation: name.split(",")[0]!,
    });
    assert.ok(storage.signal.aborted);
    assert.deepEqual(await allRows(), before);
    await session.script(`DELETE FROM ${owner}`);
  }

  for (const name of Object.keys(writes)) {
    it(`writes nothing: ${name}`, () =>
      assertStopped(`UPDATE ${owner} SET uuid = 'another'`, name));
  }

  it("writes nothing if its row is gone, or not the only one", async () => {
    const another = `INSERT INTO ${owner} VALUES ('another', now(), '')`;
    await assertStopped(another, "writeEvent");
    await assertStopped(`DELETE FROM ${owner}`, "writeEvent");
  });
});
