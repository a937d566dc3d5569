/**
 * The rows that each write leaves in the tables of a real server. Existing nodes
 * depend on details that no read of the store shows.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  bytes,
  candidate,
  mediaGenesis,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { openSession } from "../support/migration_connection.ts";
import { openTestStorage } from "../support/storage.ts";

const empty = new Uint8Array();
const large = new Uint8Array(100_000).fill(1);

describe("The stored rows", () => {
  let test: TestStreamStorage;
  let storage: PostgresStreamStorage;
  let session: Session;
  let id: StreamId;

  before(async () => {
    test = await openTestStorage({ partitions: 1 });
    ({ storage } = test);
    session = await openSession(test.url);
  });
  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
  });
  beforeEach(() => (id = newStreamId("media")));

  function query(columns: string, table: string, order = "1") {
    return session.script(
      `SELECT ${columns} FROM "${test.schema}".${table}
        WHERE stream_id = '${id}' ORDER BY ${order}`,
    );
  }

  const creations: Record<string, () => Promise<unknown>> = {
    createStreamStorage: () => storage.createStreamStorage(id, block(0)),
    "createStreamStorage, large": () =>
      storage.createStreamStorage(id, { number: 0n, data: large }),
    createEphemeralStreamStorage: () =>
      storage.createEphemeralStreamStorage(id, block(0)),
    createStreamArchiveStorage: () => storage.createStreamArchiveStorage(id),
    writeEphemeralMiniblock: () =>
      storage.writeEphemeralMiniblock(id, block(0)),
    reinitializeStreamStorage: () =>
      storage.reinitializeStreamStorage(id, [snapshotBlock(0)], 0n, true),
  };
  for (const [name, create] of Object.entries(creations)) {
    it(`of ${name} mark the stream as migrated, with its blocks in the database`, async () => {
      await create();
      assert.deepEqual(await query("migrated, blockdata_ext", "es"), [
        ["t", "D"],
      ]);
    });
  }

  it("have NULL for a snapshot that is empty or was cleared", async () => {
    await storage.createStreamStorage(id, { ...block(0), snapshot: empty });
    const given = [1n, 2n].map((number) => ({ number, snapshot: empty }));
    for (const { number, snapshot } of given) {
      const data = number === 1n ? bytes("small") : large;
      await storage.writeMiniblockCandidate(id, {
        ...candidate(9, `${number}`),
        data,
        snapshot,
      });
      await storage.writeMiniblocks(
        id,
        [{ number, data, snapshot }],
        { generation: number + 1n, envelopes: [] },
        { generation: number, size: 0 },
      );
    }
    const rebuilt = [{ ...block(3), snapshot: empty }, snapshotBlock(4)];
    const more = [...rebuilt, snapshotBlock(5)];
    await storage.reinitializeStreamStorage(id, more, 5n, true);
    await storage.trimStream(id, 0n, [4n]);
    const isNull = "snapshot IS NULL";
    assert.deepEqual(await query(`seq_num, ${isNull}`, "miniblocks_m00"), [
      ...["0", "1", "2", "3", "4"].map((number) => [number, "t"]),
      ["5", "f"],
    ]);
    assert.deepEqual(await query(isNull, "miniblock_candidates_m00"), [
      ["t"],
      ["t"],
    ]);
  });

  it("begin each minipool with a marker without an envelope", async () => {
    const marker = async (generation: bigint) =>
      assert.deepEqual(
        await query(
          "generation, slot_num, envelope IS NULL",
          "minipools_m00",
          "slot_num LIMIT 1",
        ),
        [[String(generation), "-1", "t"]],
      );
    await storage.createStreamStorage(id, block(0));
    await marker(1n);
    for (const [number, data] of [[1n, bytes("small")], [2n, large]] as const) {
      await storage.writeMiniblocks(
        id,
        [{ number, data }],
        { generation: number + 1n, envelopes: [bytes("left")] },
        { generation: number },
      );
      await marker(number + 1n);
    }
    await storage.reinitializeStreamStorage(id, [snapshotBlock(3)], 3n, true);
    await marker(4n);
    id = newStreamId("media");
    await storage.writeEphemeralMiniblock(id, mediaGenesis(0).genesis);
    await storage.normalizeEphemeralStream(id);
    await marker(1n);
  });

  it("hold values of up to 3.9 KB in place, not in the TOAST table", async () => {
    const chunks = async () => {
      const [[table]] = await session.script(
        `SELECT reltoastrelid::regclass FROM pg_class
          WHERE oid = '"${test.schema}".minipools_m00'::regclass`,
      ) as [[string]];
      const [[count]] = await session.script(
        `SELECT count(*) FROM ${table}`,
      ) as [
        [string],
      ];
      return Number(count);
    };
    await storage.createStreamStorage(id, block(0));
    const before = await chunks();
    await storage.writeEvent(id, 1n, 0, new Uint8Array(3900));
    assert.equal(await chunks(), before);
    await storage.writeEvent(id, 1n, 1, new Uint8Array(4100));
    assert.ok(await chunks() > before);
  });

  it("are gone after the stream is deleted", async () => {
    await storage.createStreamStorage(id, block(0));
    await storage.writeEvent(id, 1n, 0, bytes("event"));
    await storage.writeMiniblockCandidate(id, candidate(1));
    await storage.deleteStream(id);
    const kinds = ["miniblocks", "minipools", "miniblock_candidates"];
    for (const table of ["es", ...kinds.map((kind) => `${kind}_m00`)]) {
      assert.deepEqual(await query("1", table), [], table);
    }
  });

  it("hold the age of an ephemeral stream, from its own creation on", async () => {
    const ages = "stream_storage_ephemeral";
    const isNew = "created_at > now() - interval '1 hour'";
    const creating = [
      () => storage.createEphemeralStreamStorage(id, mediaGenesis(0).genesis),
      () => storage.writeEphemeralMiniblock(id, mediaGenesis(0).genesis),
    ];
    for (const create of creating) {
      id = newStreamId("media");
      // A row that an earlier stream left behind.
      await session.script(
        `INSERT INTO "${test.schema}".${ages} (stream_id, created_at)
          VALUES ('${id}', now() - interval '1 day')`,
      );
      await create();
      assert.deepEqual(await query(isNew, ages), [["t"]]);
      await session.script(
        `UPDATE "${test.schema}".${ages}
          SET created_at = now() - interval '1 day' WHERE stream_id = '${id}'`,
      );
      await storage.writeEphemeralMiniblock(id, block(1));
      assert.deepEqual(await query(isNew, ages), [["f"]]);
    }
    await storage.deleteStream(id);
    assert.deepEqual(await query(isNew, ages), []);
    id = newStreamId("media");
    await storage.writeEphemeralMiniblock(id, mediaGenesis(0).genesis);
    await storage.normalizeEphemeralStream(id);
    assert.deepEqual(await query(isNew, ages), []);
  });
});
