/**
 * The lock behind which events are added without a look, on a real server: it
 * is refused whenever the stream may have changed.
 * src/postgres/write_path/minipool_cache.ts says what it must notice.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { rejectionOf } from "../../src/database/rejection.ts";
import type { Session } from "../../src/database/session.ts";
import { bind, type Bound, statement } from "../../src/database/statement.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import {
  changedReason,
  lockStreamsLearning,
  lockUnchangedStream,
  lockUnchangedStreams,
  lockUnchangedStreamsOfMany,
} from "../../src/postgres/sql/stream_locks.ts";
import type { LockedRow } from "../../src/postgres/write_path/minipool_cache.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { openSession } from "../support/migration_connection.ts";
import { blocked } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";

type Row = LockedRow & { id: StreamId };

const gate = 4_711;

const columnsOf = (rows: Row[]) => ({
  places: rows.map(({ at }) => at),
  ids: rows.map(({ id }) => id),
  lockers: rows.map(({ lockedBy }) => lockedBy),
});

const waitAtGate = () =>
  statement({
    text: `SELECT pg_advisory_xact_lock(${gate})::text`,
    columns: ["text"],
  });

describe("The lock of unchanged streams", () => {
  let test: TestStreamStorage;
  let early: Session;
  let late: Session;
  let catalog: Catalog;
  let owner: [string, bigint];

  before(async () => {
    test = await openTestStorage({ partitions: 1 });
    early = await openSession(test.url);
    late = await openSession(test.url);
    catalog = new Catalog(test.schema, 1);
    const [{ rows: [row] }] = await early.run([
      bind(statement({
        text: `SELECT uuid, storage_connection_time
          FROM ${catalog.table("singlenodekey")}`,
        columns: ["varchar", "timestamp"],
      })),
    ]);
    owner = row!;
  });
  after(async () => {
    await early.close();
    await late.close();
    await test[Symbol.asyncDispose]();
  });

  async function newStream(): Promise<StreamId> {
    const id = newStreamId();
    await test.storage.createStreamStorage(id, snapshotBlock(0));
    return id;
  }

  /** Locks the streams' rows, and returns their places and lockers. */
  async function lockAll(ids: StreamId[]): Promise<Row[]> {
    const [{ rows }] = await early.run([
      bind(catalog.at("", lockStreamsLearning), ids),
    ]);
    return rows.map(([id, at, lockedBy]) => ({
      id: id as StreamId,
      at,
      lockedBy,
    }));
  }

  async function lockOnce(id: StreamId): Promise<Row> {
    const [row] = await lockAll([id]);
    return row!;
  }

  /** The locks; one transaction locked the streams last, or several did. */
  const locks = {
    "one stream": ([row]: Row[]) => {
      const { at, id, lockedBy } = row!;
      const lock = catalog.at("", lockUnchangedStream);
      return bind(lock, at, id, lockedBy, ...owner);
    },
    "streams of one locker": (rows: Row[]) => {
      const { places, ids, lockers } = columnsOf(rows);
      const lock = catalog.at("", lockUnchangedStreams);
      return bind(lock, places, ids, lockers[0]!, ...owner);
    },
    "streams of several lockers": (rows: Row[]) => {
      const { places, ids, lockers } = columnsOf(rows);
      const lock = catalog.at("", lockUnchangedStreamsOfMany);
      return bind(lock, places, ids, lockers, lockers, ...owner);
    },
  };

  /**
   * The statement, which waits between its look at the number and its lock
   * while another session holds the gate.
   */
  function slow(lock: Bound): Bound {
    const passed = `pg_advisory_xact_lock_shared(${gate}) IS NOT NULL`;
    const { statement } = lock;
    const text = statement.text
      .replace(
        "xmax = $3::pg_catalog.xid",
        `xmax = $3::pg_catalog.xid AND ${passed}`,
      )
      .replace("xmax AS locked_by", `xmax AS locked_by, ${passed} AS passed`)
      .replace(
        "array_agg(locked_by)",
        "array_agg(CASE WHEN passed THEN locked_by END)",
      );
    assert.ok(text.includes(passed));
    return { ...lock, statement: { ...statement, text } };
  }

  async function refusalOf(lock: Bound): Promise<string> {
    const error = await late.run([lock]).then(() => {}, (error) => error);
    return rejectionOf(error)?.reason ?? error.sqlState;
  }

  for (const [name, lockOf] of Object.entries(locks)) {
    describe(`on ${name}`, () => {
      it("succeeds each time with the number of the time before", async () => {
        const row = await lockOnce(await newStream());
        const [{ rows: [locked] }] = await late.run([lockOf([row])]);
        await late.run([lockOf([{ ...row, lockedBy: locked![1] }])]);
        assert.equal(await refusalOf(lockOf([row])), changedReason);
      });

      it("is refused if the last locker did not commit", async () => {
        const row = await lockOnce(await newStream());
        await late.run([lockOf([row])]);
        const { text } = catalog.at("", lockStreamsLearning);
        // As on a server that was promoted: it has the lock, but not the
        // commit.
        const rows = await late.script(
          `BEGIN; ${text.replace("$1", `'{${row.id}}'`)}; ROLLBACK`,
        );
        const lockedBy = BigInt(rows[0]![2]!);
        assert.equal(
          await refusalOf(lockOf([{ ...row, lockedBy }])),
          changedReason,
        );
      });

      it("is refused if the row was written meanwhile", async () => {
        const row = await lockOnce(await newStream());
        await early.script(`SELECT pg_advisory_lock(${gate})`);
        const refusal = refusalOf(slow(lockOf([row])));
        await blocked(late.processId);
        await early.script(
          `UPDATE ${catalog.table("es")} SET migrated = migrated
            WHERE stream_id = '${row.id}'`,
        );
        await early.script(`SELECT pg_advisory_unlock(${gate})`);
        assert.equal(await refusal, changedReason);
      });

      it("is refused at once while another session holds it", async () => {
        const row = await lockOnce(await newStream());
        await early.script(
          `BEGIN; SELECT 1 FROM ${catalog.table("es")}
            WHERE stream_id = '${row.id}' FOR UPDATE`,
        );
        // A statement that looks for the number does not reach the lock.
        const refusal = name === "streams of several lockers"
          ? "55P03"
          : changedReason;
        assert.equal(await refusalOf(lockOf([row])), refusal);
        await early.script("ROLLBACK");
      });

      it("is refused if another stream is at its place", async () => {
        const row = await lockOnce(await newStream());
        const other = { ...row, id: newStreamId() };
        assert.equal(await refusalOf(lockOf([other])), changedReason);
      });

      it("is refused if the stream was deleted", async () => {
        const row = await lockOnce(await newStream());
        await test.storage.deleteStream(row.id);
        assert.equal(await refusalOf(lockOf([row])), changedReason);
      });

      it("is refused to an instance that does not own the schema", async () => {
        const [id, time] = owner;
        for (const outside of [["other", time], [id, time + 1n]] as const) {
          const lock = lockOf([await lockOnce(await newStream())]);
          const values = [...lock.values.slice(0, -2), ...outside];
          assert.equal(await refusalOf({ ...lock, values }), changedReason);
        }
      });

      it("is refused while another owner's row is there, too", async () => {
        const row = await lockOnce(await newStream());
        // A node whose snapshot was too old to see our row leaves such a row.
        await late.script(
          `BEGIN; INSERT INTO ${catalog.table("singlenodekey")}
            (uuid, storage_connection_time, info)
          VALUES ('other', now(), '')`,
        );
        assert.equal(await refusalOf(lockOf([row])), changedReason);
        await late.script("ROLLBACK");
      });

      it("keeps the owner's row until the transaction has ended", async () => {
        const row = await lockOnce(await newStream());
        await early.script(`SELECT pg_advisory_lock(${gate})`);
        const held = late.run([
          lockOf([row]),
          bind(catalog.at("", waitAtGate)),
        ]);
        await blocked(late.processId);
        await assert.rejects(
          early.script(
            `SET lock_timeout = 50;
             DELETE FROM ${catalog.table("singlenodekey")}`,
          ),
          /lock timeout/,
        );
        await early.script(`SELECT pg_advisory_unlock(${gate})`);
        await held;
      });
    });
  }

  const several = [
    "streams of one locker",
    "streams of several lockers",
  ] as const;
  for (const name of several) {
    it(`takes ${name} in the order of their places only`, async () => {
      const ids: StreamId[] = [];
      for (let i = 0; i < 20; i++) ids.push(await newStream());
      const rows = await lockAll(ids);
      rows.sort((a, b) => a.at - b.at);
      const [{ rows: [locked] }] = await late.run([locks[name](rows)]);
      const reversed = rows.map((row) => ({ ...row, lockedBy: locked![1] }))
        .toReversed();
      assert.equal(await refusalOf(locks[name](reversed)), changedReason);
    });

    it(`refuses ${name} if one of them has changed`, async () => {
      const ids = [await newStream(), await newStream(), await newStream()];
      const rows = await lockAll(ids);
      rows.sort((a, b) => a.at - b.at);
      await lockOnce(rows[1]!.id);
      assert.equal(await refusalOf(locks[name](rows)), changedReason);
    });
  }

  it("compares each stream with its own locker", async () => {
    const rows = [
      await lockOnce(await newStream()),
      await lockOnce(await newStream()),
    ].sort((a, b) => a.at - b.at) as [Row, Row];
    const [first, second] = rows;
    const swapped = [
      { ...first, lockedBy: second.lockedBy },
      { ...second, lockedBy: first.lockedBy },
    ];
    const lock = locks["streams of several lockers"];
    assert.equal(await refusalOf(lock(swapped)), changedReason);
  });

  it("takes streams of several lockers", async () => {
    const rows = [
      await lockOnce(await newStream()),
      await lockOnce(await newStream()),
    ].sort((a, b) => a.at - b.at);
    await late.run([locks["streams of several lockers"](rows)]);
  });

  it("is refused if one of several lockers did not commit", async () => {
    const id = await newStream();
    const row = await lockOnce(id);
    const { text } = catalog.at("", lockStreamsLearning);
    const locked = await late.script(
      `BEGIN; ${text.replace("$1", `'{${id}}'`)}; ROLLBACK`,
    );
    const aborted = { ...row, lockedBy: BigInt(locked[0]![2]!) };
    const committed = await lockOnce(await newStream());
    const rows = [aborted, committed].sort((a, b) => a.at - b.at);
    const lock = locks["streams of several lockers"];
    assert.equal(await refusalOf(lock(rows)), changedReason);
  });
});
