/**
 * Streams that are created together: their rows are added by one statement, and
 * whatever must stop one of them must not stop the others.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { Session } from "../src/database/session.ts";
import type { PostgresStreamStorage } from "../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  bytes,
  newStreamId,
  snapshotBlock,
} from "../src/testing/contract/support.ts";
import type { PlantedStream } from "../src/testing/contract/suite.ts";
import type { TestStreamStorage } from "../src/testing/create_test_stream_storage.ts";
import { BindCounts } from "./support/bind_counts.ts";
import { testDatabaseUrl } from "./support/database.ts";
import { assertInvariants } from "./support/invariants.ts";
import { openSession } from "./support/migration_connection.ts";
import { plant } from "./support/plant.ts";
import { type Proxy, startProxy } from "./support/proxy.ts";
import { openTestStorage } from "./support/storage.ts";

const nothingLeft: PlantedStream = {
  latestSnapshot: 0n,
  orphaned: true,
  blocks: [],
  minipool: [],
};

/** What an earlier stream may have left, in each table by itself. */
const leftovers: Record<string, PlantedStream> = {
  "a block": { ...nothingLeft, blocks: [{ number: 3n, data: bytes("old") }] },
  "an event": {
    ...nothingLeft,
    minipool: [{ generation: 4n, slot: 0, envelope: bytes("old") }],
  },
  "a candidate": {
    ...nothingLeft,
    candidates: [{
      number: 5n,
      data: bytes("old"),
      hash: new Uint8Array(32).fill(5),
    }],
  },
};

describe("Streams that are created together", () => {
  let proxy: Proxy;
  let test: TestStreamStorage;
  let storage: PostgresStreamStorage;
  let session: Session;
  let binds: BindCounts<"rows" | "filled" | "whole">;
  let ground: { url: string; schema: string; partitions: number };

  before(async () => {
    const url = await testDatabaseUrl();
    proxy = await startProxy(url);
    test = await openTestStorage({
      url: proxy.url,
      partitions: 2,
      // Short, for what waits for a stranger.
      lockTimeoutMs: 300,
    });
    ({ storage } = test);
    ground = { url, schema: test.schema, partitions: 2 };
    session = await openSession(url);
    binds = new BindCounts(proxy, {
      rows: "FROM unnest($1) AS stream_id",
      filled: "ELSE 0 END, $2, $3",
      whole: "SELECT $1, 0, true, false, 'D'",
    });
  });
  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
    await proxy.close();
  });
  beforeEach(() => binds.reset());

  const create = (id: StreamId) =>
    storage.createStreamStorage(id, snapshotBlock(0));

  async function assertCreated(ids: readonly StreamId[]): Promise<void> {
    for (const id of ids) {
      const stored = await storage.debugReadStreamData(id);
      assert.deepEqual(stored.miniblocks.map(({ number }) => number), [0n]);
      assert.deepEqual(stored.miniblockCandidates, []);
      await storage.writeEvent(id, 1n, 0, bytes("the first"));
    }
    await assertInvariants(session, ground);
  }

  function assertBound(
    { rows = 0, filled = 0, whole = 0 }: {
      rows?: number;
      filled?: number;
      whole?: number;
    },
  ): void {
    assert.deepEqual(
      [binds.of("rows"), binds.of("filled"), binds.of("whole")],
      [rows, filled, whole],
    );
  }

  it("have their rows added by one statement", async () => {
    const ids = Array.from({ length: 10 }, newStreamId);
    await Promise.all(ids.map(create));
    assertBound({ rows: 1, filled: 10 });
    await assertCreated(ids);
  });

  it("share a transaction with other writes", async () => {
    const old = newStreamId();
    await create(old);
    const ids = [newStreamId(), newStreamId()];
    await Promise.all([
      create(ids[0]!),
      storage.writeEvent(old, 1n, 0, bytes("0")),
      create(ids[1]!),
      storage.writeEvent(old, 1n, 1, bytes("1")),
    ]);
    assertBound({ whole: 1, rows: 1, filled: 2 });
    await assertCreated(ids);
    const read = await storage.readStreamFromLastSnapshot(old, 0);
    assert.deepEqual(read.minipoolEnvelopes, [bytes("0"), bytes("1")]);
  });

  it("are one statement when there is but one", async () => {
    const id = newStreamId();
    await create(id);
    assertBound({ whole: 1 });
    await assertCreated([id]);
  });

  it("are created but for the one that is there already", async () => {
    const [there, ...ids] = Array.from({ length: 5 }, newStreamId);
    await storage.createStreamStorage(there!, block(0));
    binds.reset();
    const calls = [...ids, there!].map(create);
    await assertFails(calls.pop()!, {
      code: "ALREADY_EXISTS",
      reason: "stream_exists",
    });
    await Promise.all(calls);
    assertBound({ rows: 1, filled: 5, whole: 5 });
    await assertCreated([...ids, there!]);
  });

  for (const [what, rows] of Object.entries(leftovers)) {
    it(`are created where an earlier stream has left ${what}`, async () => {
      const ids = Array.from({ length: 4 }, newStreamId);
      await plant(ground, ids[2]!, rows);
      await Promise.all(ids.map(create));
      assertBound({ rows: 1, filled: 4, whole: 4 });
      await assertCreated(ids);
    });
  }

  it("are created beside one that a stranger has not committed yet", async () => {
    const [taken, ...ids] = Array.from({ length: 5 }, newStreamId);
    await using stranger = await openSession(ground.url);
    await stranger.script(
      `BEGIN; INSERT INTO "${ground.schema}".es
        (stream_id, latest_snapshot_miniblock, migrated)
        VALUES ('${taken}', 0, true)`,
    );
    const late = assertFails(create(taken!), {
      code: "DEADLINE_EXCEEDED",
      reason: "lock_timeout",
    });
    await Promise.all(ids.map(create));
    await late;
    await stranger.script("ROLLBACK");
    await create(taken!);
    await assertCreated([...ids, taken!]);
  });
});
