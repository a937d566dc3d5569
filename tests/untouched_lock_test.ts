/**
 * The lock behind which events are added without a look, as the server does it:
 * src/postgres/known_minipools.ts says what it must notice.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { rejectionOf } from "../src/database/rejection.ts";
import type { Session } from "../src/database/session.ts";
import { bind, type Statement } from "../src/database/statement.ts";
import { Catalog } from "../src/postgres/catalog.ts";
import {
  lockStreamsTelling,
  lockUntouchedStream,
  lockUntouchedStreams,
  touchedReason,
} from "../src/postgres/sql/streams.ts";
import type { KnownRow } from "../src/postgres/known_minipools.ts";
import type { StreamId } from "../src/storage/stream_id.ts";
import { newStreamId, snapshotBlock } from "../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../src/testing/create_test_stream_storage.ts";
import { openSession } from "./support/migration_connection.ts";
import { blocked } from "./support/sessions.ts";
import { openTestStorage } from "./support/storage.ts";

describe("The lock of an untouched stream", () => {
  let test: TestStreamStorage;
  let early: Session;
  let late: Session;
  let catalog: Catalog;
  const gate = 4_711;

  before(async () => {
    test = await openTestStorage({ partitions: 1 });
    early = await openSession(test.url);
    late = await openSession(test.url);
    catalog = new Catalog(test.schema, 1);
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

  /** Locks the stream's row, and tells of it. */
  async function lockOnce(id: StreamId): Promise<KnownRow> {
    const [{ rows: [row] }] = await early.run([
      bind(catalog.at("", lockStreamsTelling), [id]),
    ]);
    const [, at, lockedBy] = row!;
    return { at, lockedBy };
  }

  /**
   * The statement, stopped between its look at the number and its lock for as
   * long as another session holds the gate.
   */
  function slow<S extends Statement>(of: S, name: string): S {
    const passed = `pg_advisory_xact_lock_shared(${gate}) IS NOT NULL`;
    const changes = name === "one"
      ? [["xmax = $3::xid", `xmax = $3::xid AND ${passed}`]]
      : [
        ["xmax AS locked_by", `xmax AS locked_by, ${passed} AS passed`],
        [
          "array_agg(locked_by)",
          "array_agg(CASE WHEN passed THEN locked_by END)",
        ],
      ];
    let { text } = of;
    for (const [from, to] of changes as [string, string][]) {
      assert.ok(text.includes(from));
      text = text.replace(from, to);
    }
    return { ...of, text };
  }

  const lockOf = (
    name: string,
    id: StreamId,
    { at, lockedBy }: KnownRow,
    change: typeof slow = (of) => of,
  ) =>
    name === "one"
      ? bind(
        change(catalog.at("", lockUntouchedStream), name),
        at,
        id,
        lockedBy,
      )
      : bind(
        change(catalog.at("", lockUntouchedStreams), name),
        [at],
        [id],
        [lockedBy],
        [lockedBy],
      );

  for (const name of ["one", "several"]) {
    it(`is refused where the last locker was not committed: ${name}`, async () => {
      const id = await newStream();
      const row = await lockOnce(id);
      await late.run([lockOf(name, id, row)]);
      const { text } = catalog.at("", lockStreamsTelling);
      // As a server that was promoted has it: the lock, but not the commit.
      const rows = await late.script(
        `BEGIN; ${text.replace("$1", `'{${id}}'`)}; ROLLBACK`,
      );
      const aborted = BigInt(rows[0]![2]!);
      const other = await newStream();
      const committed = await lockOnce(other);
      const { at } = row;
      const lockers = [aborted, committed.lockedBy];
      const lock = name === "one"
        ? lockOf(name, id, { at, lockedBy: aborted })
        : bind(
          catalog.at("", lockUntouchedStreams),
          [at, committed.at],
          [id, other],
          lockers,
          lockers,
        );
      const error = await late.run([lock]).catch((error) => error);
      assert.equal(rejectionOf(error)?.reason, touchedReason);
    });

    it(`sees that the row was written meanwhile: ${name}`, async () => {
      const id = await newStream();
      const row = await lockOnce(id);
      await early.script(`SELECT pg_advisory_lock(${gate})`);
      const lock = lockOf(name, id, row, slow);
      const result = late.run([lock]).catch((error) => error);
      await blocked(late.processId);
      await early.script(
        `UPDATE ${catalog.table("es")} SET migrated = migrated
          WHERE stream_id = '${id}'`,
      );
      await early.script(`SELECT pg_advisory_unlock(${gate})`);
      assert.equal(rejectionOf(await result)?.reason, touchedReason);
    });
  }

  for (
    const [name, refusal] of [["one", touchedReason], ["several", "55P03"]]
  ) {
    it(`is not waited for: ${name}`, async () => {
      const id = await newStream();
      const row = await lockOnce(id);
      await early.script(
        `BEGIN; SELECT 1 FROM ${catalog.table("es")}
          WHERE stream_id = '${id}' FOR UPDATE`,
      );
      const error = await late.run([lockOf(name!, id, row)])
        .catch((error) => error);
      assert.equal(rejectionOf(error)?.reason ?? error.sqlState, refusal);
      await early.script("ROLLBACK");
    });
  }

  for (const name of ["one", "several"]) {
    it(`is refused when another stream is at its place: ${name}`, async () => {
      const id = await newStream();
      const row = await lockOnce(id);
      const error = await late.run([lockOf(name, newStreamId(), row)])
        .catch((error) => error);
      assert.equal(rejectionOf(error)?.reason, touchedReason);
    });

    it(`is refused when nothing is there any more: ${name}`, async () => {
      const id = await newStream();
      const row = await lockOnce(id);
      await test.storage.deleteStream(id);
      const error = await late.run([lockOf(name, id, row)])
        .catch((error) => error);
      assert.equal(rejectionOf(error)?.reason, touchedReason);
    });
  }

  it("takes many in the order of their places only", async () => {
    const lock = (of: readonly (KnownRow & { id: StreamId })[]) =>
      late.run([
        bind(
          catalog.at("", lockUntouchedStreams),
          of.map(({ at }) => at),
          of.map(({ id }) => id),
          of.map(({ lockedBy }) => lockedBy),
          of.map(({ lockedBy }) => lockedBy),
        ),
      ]);
    const rows: (KnownRow & { id: StreamId })[] = [];
    for (let i = 0; i < 20; i++) {
      const id = await newStream();
      rows.push({ id, ...await lockOnce(id) });
    }
    rows.sort((a, b) => a.at - b.at);
    const [{ rows: [told] }] = await lock(rows);
    const relocked = rows.map((row) => ({ ...row, lockedBy: told![1] }));
    const error = await lock(relocked.toReversed()).catch((error) => error);
    assert.equal(rejectionOf(error)?.reason, touchedReason);
  });
});
