/**
 * Every write to a stream whose blocks are in object storage is refused,
 * whatever else is right or wrong with it, and changes nothing. Against a real
 * server.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
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
import { onS3, sealMedia } from "../support/media/streams.ts";
import { openSession } from "../support/migration_connection.ts";
import { startS3Server } from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";

const refused: ExpectedError = {
  code: "FAILED_PRECONDITION",
  reason: "stored_externally",
};

const large = new Uint8Array(100_000);

describe("A stream that is stored externally", () => {
  let test: TestStreamStorage;
  let storage: PostgresStreamStorage;
  let session: Session;

  before(async () => {
    test = await openTestStorage({ partitions: 1 });
    ({ storage } = test);
    session = await openSession(test.url);
  });
  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
  });

  /** Sets only the mark, because writes must not look any further. */
  async function mark(id: StreamId, location: "S" | "G"): Promise<void> {
    await session.script(
      `UPDATE "${test.schema}".es SET blockdata_ext = '${location}'
        WHERE stream_id = '${id}'`,
    );
  }

  function rowsOf(id: StreamId): Promise<unknown> {
    return session.script(
      `SELECT seq_num, blockdata FROM "${test.schema}".miniblocks_m00
        WHERE stream_id = '${id}' UNION ALL
       SELECT slot_num, envelope FROM "${test.schema}".minipools_m00
        WHERE stream_id = '${id}' ORDER BY 1`,
    );
  }

  async function sealed(location: "S" | "G"): Promise<StreamId> {
    const id = newStreamId("media");
    await storage.writeEphemeralMiniblock(id, mediaGenesis(1).genesis);
    await storage.writeEphemeralMiniblock(id, block(1));
    await storage.normalizeEphemeralStream(id);
    await mark(id, location);
    return id;
  }

  it("reports its location", async () => {
    const [s3, gcs] = [await sealed("S"), await sealed("G")];
    assert.equal(await storage.streamMiniblocksStoredLocation(s3), "s3");
    assert.equal(await storage.streamMiniblocksStoredLocation(gcs), "gcs");
  });

  for (const location of ["S", "G"] as const) {
    it(`refuses writes, at location ${location}`, async () => {
      const id = await sealed(location);
      const before = await rowsOf(id);
      for (const data of [block(2).data, large]) {
        // The first is right except for the location, the others are wrong.
        for (const [first, size] of [[2n, 0], [2n, 7], [5n, 0]] as const) {
          const write = storage.writeMiniblocks(
            id,
            [{ number: first, data }],
            { generation: first + 1n, envelopes: [] },
            { generation: first, size },
          );
          await assertFails(write, refused);
        }
      }
      for (const number of [0n, 1n]) {
        const given = [{ ...block(number), data: large }];
        await assertFails(storage.writePrecedingMiniblocks(id, given), refused);
      }
      for (const event of [bytes("event"), large]) {
        // The slot that is due, another slot, and another minipool.
        for (const [at, slot] of [[2n, 0], [2n, 1], [7n, 0]] as const) {
          await assertFails(storage.writeEvent(id, at, slot, event), refused);
        }
        // The rows of blocks do not say which block is the last.
        for (const number of [0, 1, 2]) {
          const proposed = { ...candidate(number), data: event };
          const write = storage.writeMiniblockCandidate(id, proposed);
          await assertFails(write, refused);
        }
      }
      const rebuild = (updateExisting: boolean) =>
        storage.reinitializeStreamStorage(
          id,
          [snapshotBlock(1)],
          1n,
          updateExisting,
        );
      await assertFails(rebuild(true), refused);
      await assertFails(rebuild(false), {
        code: "ALREADY_EXISTS",
        reason: "stream_exists",
      });
      assert.deepEqual(await rowsOf(id), before);
    });
  }

  for (const isolationLevel of ["read committed", "serializable"] as const) {
    it(`refuses events after its move, at ${isolationLevel}`, async () => {
      const server = await startS3Server();
      await using moving = await openTestStorage({
        partitions: 1,
        isolationLevel,
        mediaStorage: onS3(server),
        workerConcurrency: 0,
      });
      const { storage } = moving;
      const id = await sealMedia(storage);
      // The minipool is in the cache, because our own block emptied it.
      await storage.writeEvent(id, 4n, 0, bytes("event"));
      const minipool = { generation: 5n, envelopes: [] };
      const previous = { generation: 4n, size: 1 };
      await storage.writeMiniblocks(id, [block(4)], minipool, previous);
      await storage.maintenance.offloadMedia({ streamId: id });
      const write = () => storage.writeEvent(id, 5n, 0, bytes("event"));
      await assertFails(write(), refused);
      await storage.maintenance.rehydrateMedia(id);
      await write();
      await server[Symbol.asyncDispose]();
    });
  }

  it("refuses further blocks of an archive", async () => {
    const id = newStreamId("media");
    await storage.createStreamArchiveStorage(id);
    await storage.writeArchiveMiniblocks(id, 0n, [block(0)]);
    await mark(id, "S");
    await assertFails(
      storage.writeArchiveMiniblocks(id, 1n, [block(1)]),
      refused,
    );
  });
});
