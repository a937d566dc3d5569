/**
 * A database on a real server that publishes all of its tables, as for an
 * upgrade: PostgreSQL then demands an identity of each table that is changed.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { migrateDown } from "../../src/database/migrations/mod.ts";
import {
  partitionSuffixes,
  planDown,
} from "../../src/database/migrations/plan.ts";
import { transactionSql } from "../../src/database/migrations/transaction.ts";
import { currentVersions } from "../../src/database/migrations/numbers.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { aborted } from "../support/aborted.ts";
import { createTestDatabase } from "../support/database.ts";
import { testSession } from "../support/sessions.ts";

const genesis = { number: 0n, data: new Uint8Array([1]) };

describe("A publication of all tables", () => {
  it("does not keep a store from being opened, taken over and closed", async () => {
    await using database = await createTestDatabase();
    const { url } = database;
    const options = { url, schema: "s", partitions: 1, startupDelayMs: 0 };
    await (await openStreamStorage(options)).close();
    await using session = await testSession({ url });
    // Brings the schema to what an earlier release left.
    const suffixes = partitionSuffixes(1);
    const steps = planDown("s", {
      from: currentVersions,
      to: { ...currentVersions, own: 5 },
    }, { used: suffixes, present: suffixes });
    for (const sql of steps.flatMap(({ transactions }) => transactions)) {
      await session.script(transactionSql(sql));
    }
    await session.script("CREATE PUBLICATION everything FOR ALL TABLES");
    await assert.rejects(
      openStreamStorage({ ...options, migrate: "check" }),
      (error) =>
        isStreamStorageError(error, "BAD_CONFIG") &&
        error.details.reason === "schema_not_current",
    );
    await using first = await openStreamStorage(options);
    await using second = await openStreamStorage(options);
    await aborted(first.signal);
    const id = newStreamId();
    await second.createStreamStorage(id, genesis);
    await second.writeEvent(id, 1n, 0, new Uint8Array([2]));
    await second.writeMiniblocks(
      id,
      [{ number: 1n, data: new Uint8Array([3]) }],
      { generation: 2n, envelopes: [] },
      { generation: 1n, size: 1 },
    );
    await second.deleteStream(id);
    await second.close();
    const left = await session.script("SELECT FROM s.singlenodekey");
    assert.equal(left.length, 0);
    await migrateDown(session, { schema: "s", to: 8 });
    await (await openStreamStorage(options)).close();
  });

  it("finds an identity in every table", async () => {
    await using database = await createTestDatabase();
    const { url } = database;
    await (await openStreamStorage({ url, schema: "s", partitions: 2 }))
      .close();
    await using session = await testSession({ url });
    const without = await session.script(
      `SELECT relname FROM pg_class
       WHERE relnamespace = 's'::regnamespace AND relkind IN ('r', 'p')
         AND relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index
           WHERE indrelid = pg_class.oid AND indisprimary)`,
    );
    assert.deepEqual(without, []);
  });
});
