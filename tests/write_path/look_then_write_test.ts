/**
 * The rare writes look at the stream in one flush, and write in the next. If a
 * foreign writer, such as a node, changes the stream in between, the write
 * notices it under the lock and writes nothing. Against a real server.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertStorageError,
  block,
  mediaGenesis,
  newStreamId,
  plantedStream,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { openSession } from "../support/migration_connection.ts";
import { plant } from "../support/plant.ts";
import { type Proxy, startProxy } from "../support/network/proxy.ts";
import { openTestStorage } from "../support/storage.ts";

/**
 * A write that looks first, with the blocks and kind of a stream that it fits.
 */
interface Write {
  blocks: bigint[];
  kind?: "ephemeral" | "archive";
  call(storage: PostgresStreamStorage, id: StreamId): Promise<unknown>;
}

const WRITES: Record<string, Write> = {
  writePrecedingMiniblocks: {
    blocks: [2n, ...run(5, 9)],
    call: (s, id) => s.writePrecedingMiniblocks(id, [block(2), block(3)]),
  },
  reinitializeStreamStorage: {
    blocks: [2n, ...run(5, 9)],
    call: (s, id) =>
      s.reinitializeStreamStorage(
        id,
        [snapshotBlock(9), ...run(10, 12).map((n) => block(n))],
        9n,
        true,
      ),
  },
  writeArchiveMiniblocks: {
    blocks: run(0, 2),
    kind: "archive",
    call: (s, id) => s.writeArchiveMiniblocks(id, 3n, [block(3)]),
  },
  normalizeEphemeralStream: {
    blocks: run(0, 3),
    kind: "ephemeral",
    call: (s, id) => s.normalizeEphemeralStream(id),
  },
};

/**
 * What the foreign writer does, as SQL with the stream as $, and the writes
 * that it concerns, if not all.
 */
const CHANGES: Record<string, { sql: string; writes?: string[] }> = {
  "moves the latest snapshot": {
    sql: "UPDATE es SET latest_snapshot_miniblock = 1 WHERE stream_id = $",
  },
  "makes it ephemeral, or regular": {
    sql: "UPDATE es SET ephemeral = NOT ephemeral WHERE stream_id = $",
  },
  "marks its blocks as stored externally": {
    sql: "UPDATE es SET blockdata_ext = 'S' WHERE stream_id = $",
  },
  "appends a block": {
    sql: "INSERT INTO miniblocks VALUES ($, 20, 'other')",
  },
  "removes the last block": {
    sql: `DELETE FROM miniblocks WHERE stream_id = $ AND seq_num = (
      SELECT max(seq_num) FROM miniblocks WHERE stream_id = $)`,
  },
  "adds a block that was missing": {
    sql: "INSERT INTO miniblocks VALUES ($, 3, 'other')",
    writes: ["writePrecedingMiniblocks"],
  },
  "removes a block that was there": {
    sql: "DELETE FROM miniblocks WHERE stream_id = $ AND seq_num = 2",
    writes: ["writePrecedingMiniblocks", "normalizeEphemeralStream"],
  },
  "begins or ends the minipool": {
    sql: `WITH gone AS (
        DELETE FROM minipools WHERE stream_id = $ RETURNING 1)
      INSERT INTO minipools SELECT $, 3, -1
      WHERE NOT EXISTS (SELECT 1 FROM gone)`,
  },
  "deletes the stream": { sql: "DELETE FROM es WHERE stream_id = $" },
};

describe("A foreign writer between the look and the write", () => {
  let proxy: Proxy;
  let test: TestStreamStorage;
  let session: Session;

  before(async () => {
    proxy = await startProxy(await testDatabaseUrl());
    test = await openTestStorage({
      url: proxy.url,
      partitions: 1,
      operationTimeoutMs: 60_000,
    });
    session = await openSession(await testDatabaseUrl());
  });
  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
    await proxy.close();
  });

  async function plantFor({ blocks, kind }: Write): Promise<StreamId> {
    const id = newStreamId(kind === "ephemeral" ? "media" : "space");
    const rows = plantedStream(blocks, {
      snapshots: kind === undefined ? [9] : [],
      ephemeral: kind === "ephemeral",
      events: kind === undefined ? 1 : "no rows",
    });
    if (kind === "ephemeral") rows.blocks[0] = mediaGenesis(3).genesis;
    const url = await testDatabaseUrl();
    await plant({ url, schema: test.schema, partitions: 1 }, id, rows);
    return id;
  }

  /** SQL with the names of the stream's tables and its id. */
  function sqlFor(id: StreamId, sql: string): string {
    const suffix = id.startsWith("ff") ? "m00" : "r00";
    return sql.replaceAll("$", `'${id}'`)
      .replaceAll(
        /\b(miniblocks|minipools)\b/g,
        `"${test.schema}".$1_${suffix}`,
      )
      .replaceAll(/\bes\b/g, `"${test.schema}".es`);
  }

  async function rowsOf(id: StreamId): Promise<string[][]> {
    return await session.script(sqlFor(
      id,
      `SELECT 'es', latest_snapshot_miniblock::text, ephemeral::text
        FROM es WHERE stream_id = $ UNION ALL
       SELECT 'block', seq_num::text, blockdata::text
        FROM miniblocks WHERE stream_id = $ UNION ALL
       SELECT 'event', generation::text, slot_num::text
        FROM minipools WHERE stream_id = $ ORDER BY 1, 2, 3`,
    )) as string[][];
  }

  for (const [change, { sql, writes }] of Object.entries(CHANGES)) {
    for (const [name, write] of Object.entries(WRITES)) {
      if (writes !== undefined && !writes.includes(name)) continue;
      it(`${change}, so ${name} writes nothing`, async () => {
        const id = await plantFor(write);
        let changed: string[][] = [];
        // Every write begins with the fence, which contains the instance's
        // name.
        const fenced = new TextEncoder().encode(test.storage.instanceId);
        const changing = async (): Promise<void> => {
          proxy.setRule(undefined);
          await session.script(sqlFor(id, sql));
          changed = await rowsOf(id);
        };
        proxy.setRule(({ type, bytes }) =>
          type === "B" && bytes.includes(fenced)
            ? { until: changing() }
            : "forward"
        );
        await assert.rejects(write.call(test.storage, id), (error) => {
          assertStorageError(error, {
            code: "DB_OPERATION_FAILURE",
            reason: "stream_changed",
            operation: name,
          });
          assert.ok(isStreamStorageError(error) && error.retryable);
          return true;
        });
        assert.deepEqual(await rowsOf(id), changed);
      });
    }
  }
});
