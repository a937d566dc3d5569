/**
 * Lost answers of writes on a real server. Further writes are cut at every
 * message, as in cut_writes_test.ts; sessions end while they wait for a lock; and
 * some outcomes can't be found out.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  bytes,
  mediaGenesis,
  newStreamId,
  plantedStream,
  run,
} from "../../src/testing/contract/support.ts";
import {
  assertSurvivesCuts,
  type Case,
  eventsOf,
} from "../support/cut_everywhere.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { assertInvariants } from "../support/invariants.ts";
import { plant } from "../support/plant.ts";
import { startProxy } from "../support/network/proxy.ts";
import { terminate, testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";

const genesis: MiniblockDescriptor = {
  number: 0n,
  data: bytes("genesis"),
  snapshot: bytes("snapshot 0"),
};
const hash = new Uint8Array(32).fill(7);

function blocks(from: number, count: number): MiniblockDescriptor[] {
  return Array.from({ length: count }, (_, i) => ({
    number: BigInt(from + i),
    data: bytes(`block ${from + i}`),
    snapshot: bytes(`snapshot ${from + i}`),
  }));
}

async function stored(storage: PostgresStreamStorage, id: StreamId) {
  return (await storage.debugReadStreamData(id)).miniblocks;
}

/** Events of several streams that share a transaction. */
function sharedEvents(): Case {
  const neighbours = new Map<StreamId, StreamId[]>();
  return {
    prepare: async (storage, id) => {
      const ids = [id, newStreamId(), newStreamId(), newStreamId()];
      neighbours.set(id, ids);
      await Promise.all(
        ids.map((each) => storage.createStreamStorage(each, genesis)),
      );
    },
    write: (storage, id) =>
      Promise.all(
        neighbours.get(id)!.flatMap((each) =>
          [0, 1].map((slot) =>
            storage.writeEvent(each, 1n, slot, bytes(`${slot} of ${each}`))
          )
        ),
      ),
    check: async (storage, id) => {
      for (const each of neighbours.get(id)!) {
        const expected = [0, 1].map((slot) => `${slot} of ${each}`);
        assert.deepEqual(await eventsOf(storage, each), expected);
      }
    },
  };
}

/** Streams that are created in one transaction. */
function createdTogether(): Case {
  const together = new Map<StreamId, StreamId[]>();
  return {
    write: (storage, id) => {
      const ids = [id, newStreamId(), newStreamId(), newStreamId()];
      together.set(id, ids);
      return Promise.all(
        ids.map((each) => storage.createStreamStorage(each, genesis)),
      );
    },
    check: async (storage, id) => {
      for (const each of together.get(id)!) {
        assert.deepEqual(await stored(storage, each), [genesis]);
        await storage.writeEvent(each, 1n, 0, bytes("the first"));
      }
    },
  };
}

const media = mediaGenesis(2);

const cases: Record<string, Case> = {
  "writeEvent, of many streams": sharedEvents(),
  "createStreamStorage, of many streams": createdTogether(),
  createEphemeralStreamStorage: {
    write: (storage, id) => storage.createEphemeralStreamStorage(id, genesis),
    check: async (storage, id) =>
      assert.deepEqual(await stored(storage, id), [genesis]),
  },
  normalizeEphemeralStream: {
    prepare: async (storage, id) => {
      await storage.createEphemeralStreamStorage(id, media.genesis);
      for (const block of blocks(1, 2)) {
        await storage.writeEphemeralMiniblock(id, block);
      }
    },
    write: async (storage, id) =>
      assert.deepEqual(
        await storage.normalizeEphemeralStream(id),
        media.headerHash,
      ),
    check: async (storage, id) => {
      assert.equal(await storage.isStreamEphemeral(id), false);
      assert.equal((await stored(storage, id)).length, 3);
    },
  },
  createStreamArchiveStorage: {
    write: (storage, id) => storage.createStreamArchiveStorage(id),
    check: async (storage, id) =>
      assert.equal(await storage.getMaxArchivedMiniblockNumber(id), -1n),
  },
  writeArchiveMiniblocks: {
    prepare: async (storage, id) => {
      await storage.createStreamArchiveStorage(id);
      await storage.writeArchiveMiniblocks(id, 0n, blocks(0, 2));
    },
    write: (storage, id) =>
      storage.writeArchiveMiniblocks(id, 2n, blocks(2, 5)),
    check: async (storage, id) =>
      assert.deepEqual(await stored(storage, id), blocks(0, 7)),
  },
  writePrecedingMiniblocks: {
    prepare: (storage, id) =>
      storage.reinitializeStreamStorage(id, blocks(5, 3), 7n, false),
    write: (storage, id) => storage.writePrecedingMiniblocks(id, blocks(0, 7)),
    check: async (storage, id) =>
      assert.deepEqual(await stored(storage, id), blocks(0, 8)),
  },
  "reinitializeStreamStorage, of a new stream": {
    write: (storage, id) =>
      storage.reinitializeStreamStorage(id, blocks(3, 2), 4n, false),
    check: async (storage, id) =>
      assert.deepEqual(await stored(storage, id), blocks(3, 2)),
  },
};

describe("A connection that is cut", () => {
  for (const [name, each] of Object.entries(cases)) {
    it(`at any message does no harm to ${name}`, () =>
      assertSurvivesCuts(each));
  }
});

describe("A session that is ended while its write waits for a lock", () => {
  const writes: Record<
    string,
    (storage: PostgresStreamStorage, id: StreamId) => Promise<void>
  > = {
    writeEvent: (storage, id) => storage.writeEvent(id, 1n, 0, bytes("one")),
    writeMiniblocks: (storage, id) =>
      storage.writeMiniblocks(
        id,
        blocks(1, 1),
        { generation: 2n, envelopes: [bytes("one")] },
        { generation: 1n, size: 0 },
      ),
    "writeMiniblocks by COPY": (storage, id) =>
      storage.writeMiniblocks(
        id,
        blocks(1, 9).map((block) => ({
          ...block,
          data: new Uint8Array(20_000).fill(1),
        })),
        { generation: 10n, envelopes: [] },
        { generation: 1n },
      ),
    writeMiniblockCandidate: (storage, id) =>
      storage.writeMiniblockCandidate(id, { ...blocks(1, 1)[0]!, hash }),
    reinitializeStreamStorage: (storage, id) =>
      storage.reinitializeStreamStorage(id, blocks(0, 3), 2n, true),
    trimStream: (storage, id) => storage.trimStream(id, 0n, []),
    deleteStream: (storage, id) => storage.deleteStream(id),
  };
  for (const [name, write] of Object.entries(writes)) {
    it(`leaves ${name} to be done when the lock is free`, async () => {
      await using test = await openTestStorage({
        retry: { minDelayMs: 1, maxDelayMs: 5 },
      });
      const { storage, schema } = test;
      const id = newStreamId();
      await storage.createStreamStorage(id, genesis);
      await using holder = await testSession();
      await holder.script(`BEGIN; LOCK TABLE ${schema}.es IN EXCLUSIVE MODE`);
      let isDone = false;
      const written = write(storage, id).then(() => isDone = true);
      for (let killed = 0; killed < 2; killed++) {
        await terminate(await waitingProcess(schema));
      }
      await waitingProcess(schema);
      assert.equal(isDone, false);
      await holder.script("COMMIT");
      await written;
      await assertInvariants(holder, {
        schema,
        partitions: storage.partitions,
      });
      // It was done once, so a repetition is refused, except for an empty trim.
      if (name === "trimStream") return;
      await assert.rejects(
        write(storage, id),
        (error) => isStreamStorageError(error),
      );
    });
  }
});

describe("A refusal whose answer was lost", () => {
  it("is not taken for a success because of an older row", async () => {
    const url = await testDatabaseUrl();
    await using proxy = await startProxy(url);
    await using test = await openTestStorage({ url: proxy.url, partitions: 1 });
    const { storage, schema } = test;
    const id = newStreamId();
    const old = { ...blocks(2, 1)[0]!, hash };
    await plant({ url, schema, partitions: 1 }, id, {
      ...plantedStream(run(0, 2)),
      candidates: [old],
    });
    const cut = proxy.cutAt({
      side: "backend",
      type: "Z",
      nth: 1,
      when: "before",
    });
    await assertFails(storage.writeMiniblockCandidate(id, old), {
      code: "MINIBLOCKS_STORAGE_FAILURE",
      reason: "candidate_too_old",
    });
    await cut;
  });
});

describe("A write whose outcome can't be found out", () => {
  it("is reported as unknown if the look at the rows fails, too", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      maxConnections: 3,
      operationTimeoutMs: 600,
      retry: { attempts: 3, minDelayMs: 1, maxDelayMs: 10 },
    });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    // The third event needs no preparation of statements, so it has one answer,
    // which comes after the commit.
    for (const slot of [0, 1]) {
      await storage.writeEvent(id, 1n, slot, bytes(`${slot}`));
    }
    // The answer is lost, and the store raises its epoch. When it looks at the
    // rows, the server is away.
    let isLost = false;
    let isAway = false;
    proxy.setRule(({ side, type, bytes }) => {
      if (isAway && side === "frontend") return "cut-before";
      if (side === "backend" && type === "Z" && !isLost) {
        isLost = true;
        return "cut-before";
      }
      if (type === "P" && bytes.includes("oldest.generation")) isAway = true;
      return isAway ? "cut-before" : "forward";
    });
    await assert.rejects(
      storage.writeEvent(id, 1n, 2, bytes("lost")),
      (error) =>
        isStreamStorageError(error, "UNAVAILABLE") &&
        error.outcome === "unknown",
    );
    assert.ok(isAway);
    proxy.setRule(undefined);
    assert.deepEqual(await eventsOf(storage, id), ["0", "1", "lost"]);
  });

  it("is reported as unknown if the server falls silent", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      operationTimeoutMs: 1000,
      retry: { minDelayMs: 1, maxDelayMs: 10 },
    });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    proxy.setRule(({ side, type }) => {
      if (side === "backend" && type === "C") proxy.silence(true);
      return "forward";
    });
    await assert.rejects(
      storage.writeEvent(id, 1n, 0, bytes("lost")),
      (error) => isStreamStorageError(error) && error.outcome === "unknown",
    );
    proxy.setRule(undefined);
    proxy.silence(false);
  });
});

/** The process id of a store's session that waits for a lock. */
async function waitingProcess(schema: string): Promise<number> {
  // A new session, because a transaction keeps its first view of the activity.
  await using session = await testSession();
  for (;;) {
    const [row] = await session.script(
      `SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'
         AND query LIKE '%${schema}%' AND pid <> pg_backend_pid()`,
    );
    if (row) return Number(row[0]);
  }
}
