/**
 * A foreign writer of the same stream at the same time, at every isolation
 * level of a real server: each slot goes to one of the two, and a conflict that
 * the server reports is retried.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sqlStateOf } from "../../src/database/failures.ts";
import { bind } from "../../src/database/statement.ts";
import { insertEvent } from "../../src/postgres/sql/minipools.ts";
import {
  lockStream,
  lockStreamByUpdate,
} from "../../src/postgres/sql/stream_locks.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import type { IsolationLevel } from "../../src/postgres/store.ts";
import { assertInvariants } from "../support/invariants.ts";
import { openSession } from "../support/migration_connection.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";

const levels: IsolationLevel[] = [
  "read committed",
  "repeatable read",
  "serializable",
];
const data = new Uint8Array([1]);
const genesis = { number: 0n, data, snapshot: data };

describe("An event that a foreign writer competes with", () => {
  for (const isolationLevel of levels) {
    it(`is compared with what that writer committed, at ${isolationLevel}`, async () => {
      await using test = await openTestStorage({
        isolationLevel,
        debugTransactions: true,
        // A slow machine must not add a retry.
        lockTimeoutMs: 5000,
        operationTimeoutMs: 20_000,
      });
      const { storage, schema } = test;
      const id = newStreamId();
      await storage.createStreamStorage(id, genesis);
      const t = new Catalog(schema, storage.partitions).tablesOf(id);
      await using gate = await openSession(test.url);
      await using other = await openSession(test.url);
      // A foreign event, so that the store does not know the minipool.
      await other.script(
        `INSERT INTO ${t.minipools} (stream_id, generation, slot_num, envelope)
           VALUES ('${id}', 1, 0, 'event')`,
      );
      // Our write begins, and waits at the fence.
      await gate.script(
        `BEGIN; SELECT 1 FROM ${schema}.singlenodekey FOR UPDATE`,
      );
      const same = storage.writeEvent(id, 1n, 1, data);
      const rejected = assert.rejects(
        same,
        (error) =>
          isStreamStorageError(error, "DB_OPERATION_FAILURE") &&
          error.details.reason === "minipool_slot_mismatch" &&
          error.details.actual === 2,
      );
      await waitsForLock(gate, schema);
      // As a node does it: lock, compare, insert, commit.
      await other.script(
        `BEGIN; UPDATE ${t.streams} SET migrated = true
           WHERE stream_id = '${id}';
         INSERT INTO ${t.minipools} (stream_id, generation, slot_num, envelope)
           VALUES ('${id}', 1, 1, 'other'); COMMIT`,
      );
      await gate.script("COMMIT");
      await rejected;
      await storage.writeEvent(id, 1n, 2, data);
      const retries = storage.dumpTxTracker()
        .filter(({ event }) => event === "retry" || event === "rollback");
      // The higher levels notice only by failing (40001), and need a retry.
      assert.equal(retries.length > 0, isolationLevel !== "read committed");
      await assertInvariants(other, {
        schema,
        partitions: storage.partitions,
      });
    });
  }

  for (const isolationLevel of levels) {
    it(`never takes the slot of that writer's event, at ${isolationLevel}`, async () => {
      await using test = await openTestStorage({ isolationLevel });
      const { storage, schema } = test;
      const id = newStreamId();
      await storage.createStreamStorage(id, genesis);
      const t = new Catalog(schema, storage.partitions).tablesOf(id);
      await using other = await testSession({
        settings: { default_transaction_isolation: isolationLevel },
      });
      const lock = isolationLevel === "read committed"
        ? lockStream(t)
        : lockStreamByUpdate(t);
      /** Writes as another store does: true if it got the slot. */
      const foreign = async (slot: bigint): Promise<boolean> => {
        try {
          const insert = bind(
            insertEvent(t),
            id,
            1n,
            slot,
            new Uint8Array([2]),
          );
          const [, { count }] = await other.run([bind(lock, id), insert]);
          return count === 1;
        } catch (error) {
          assert.match(sqlStateOf(error) ?? "", /^(40001|55P03)$/);
          return await foreign(slot);
        }
      };
      const winners: number[] = [];
      for (let slot = 0; slot < 20; slot++) {
        const [own, others] = await Promise.allSettled([
          storage.writeEvent(id, 1n, slot, data),
          foreign(BigInt(slot)),
        ]);
        assert.ok(others.status === "fulfilled");
        assert.equal(own.status === "rejected", others.value);
        if (own.status === "rejected") {
          const { reason } = own.reason.details;
          assert.equal(reason, "minipool_slot_mismatch");
        }
        winners.push(others.value ? 2 : 1);
      }
      const { minipoolEnvelopes } = await storage.readStreamFromLastSnapshot(
        id,
        0,
      );
      assert.deepEqual(minipoolEnvelopes.map(([byte]) => byte), winners);
      await assertInvariants(other, {
        schema,
        partitions: storage.partitions,
      });
    });
  }
});

describe("An event that the server refuses with a conflict", () => {
  it("fails with a typed error after its last attempt", async () => {
    await using test = await openTestStorage({
      retry: { attempts: 3, minDelayMs: 1, maxDelayMs: 2 },
      debugTransactions: true,
    });
    const { storage, schema } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await using session = await openSession(test.url);
    const t = new Catalog(schema, storage.partitions).tablesOf(id);
    const failFirst = (times: number) =>
      session.script(
        `CREATE SEQUENCE IF NOT EXISTS ${schema}.failures;
         ALTER SEQUENCE ${schema}.failures RESTART;
         CREATE OR REPLACE FUNCTION ${schema}.fail() RETURNS trigger
           LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('${schema}.failures') <= ${times} THEN
               RAISE EXCEPTION 'conflict' USING ERRCODE = '40001';
             END IF;
             RETURN NEW;
           END $$;
         DROP TRIGGER IF EXISTS fail ON ${t.minipools};
         CREATE TRIGGER fail BEFORE INSERT ON ${t.minipools}
           FOR EACH ROW EXECUTE FUNCTION ${schema}.fail()`,
      );
    // The first attempt is in a shared transaction, the next three are alone.
    await failFirst(3);
    await storage.writeEvent(id, 1n, 0, data);
    await failFirst(4);
    await assert.rejects(
      storage.writeEvent(id, 1n, 1, data),
      (error) =>
        isStreamStorageError(error, "UNAVAILABLE") && error.retryable &&
        error.outcome === "rolled_back" &&
        error.details.sqlState === "40001",
    );
    await storage.writeEvent(id, 1n, 1, data);
  });
});

async function waitsForLock(
  session: Awaited<ReturnType<typeof openSession>>,
  schema: string,
): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    // Otherwise a transaction sees the same activity again.
    await session.script("SELECT pg_stat_clear_snapshot()");
    const rows = await session.script(
      `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'
         AND query LIKE '%${schema}%' AND pid <> pg_backend_pid()`,
    );
    if (rows.length > 0) return;
    assert.ok(performance.now() < deadline, "Expected the write to wait");
  }
}
