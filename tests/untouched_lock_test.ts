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

  /** The transaction that has locked the stream's row now. */
  async function lockOnce(id: StreamId): Promise<bigint> {
    const [{ rows: [row] }] = await early.run([
      bind(catalog.at("", lockStreamsTelling), [id]),
    ]);
    return row![1];
  }

  /**
   * The statement, stopped between its look at the number and its lock for as
   * long as another session holds the gate.
   */
  function slow<S extends Statement>(of: S, name: string): S {
    const { text } = of;
    const last = name === "one"
      ? "xmax = $2::xid"
      : "es.xmax = known.locked_by::xid";
    assert.ok(text.includes(last));
    return {
      ...of,
      text: text.replace(
        last,
        `${last} AND pg_advisory_xact_lock_shared(${gate}) IS NOT NULL`,
      ),
    };
  }

  const lockOf = (
    name: string,
    id: StreamId,
    lockedBy: bigint,
    change: typeof slow = (of) => of,
  ) =>
    name === "one"
      ? bind(change(catalog.at("", lockUntouchedStream), name), id, lockedBy)
      : bind(
        change(catalog.at("", lockUntouchedStreams), name),
        [id],
        [lockedBy],
        [lockedBy],
      );

  for (const name of ["one", "several"]) {
    it(`is refused where the last locker was not committed: ${name}`, async () => {
      const id = await newStream();
      const lockedBy = await lockOnce(id);
      await late.run([lockOf(name, id, lockedBy)]);
      const { text } = catalog.at("", lockStreamsTelling);
      // As a server that was promoted has it: the lock, but not the commit.
      const rows = await late.script(
        `BEGIN; ${text.replace("$1", `'{${id}}'`)}; ROLLBACK`,
      );
      const aborted = BigInt(rows[0]![1]!);
      const other = await newStream();
      const committed = await lockOnce(other);
      const lock = name === "one" ? lockOf(name, id, aborted) : bind(
        catalog.at("", lockUntouchedStreams),
        [id, other],
        [aborted, committed],
        [aborted, committed],
      );
      const error = await late.run([lock]).catch((error) => error);
      assert.equal(rejectionOf(error)?.reason, touchedReason);
    });

    it(`sees that the row was written meanwhile: ${name}`, async () => {
      const id = await newStream();
      const lockedBy = await lockOnce(id);
      await early.script(`SELECT pg_advisory_lock(${gate})`);
      const lock = lockOf(name, id, lockedBy, slow);
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

  it("is not waited for", async () => {
    const id = await newStream();
    const lockedBy = await lockOnce(id);
    await early.script(
      `BEGIN; SELECT 1 FROM ${catalog.table("es")}
        WHERE stream_id = '${id}' FOR UPDATE`,
    );
    // Its number stands there already.
    const error = await late.run([lockOf("several", id, lockedBy)])
      .catch((error) => error);
    assert.equal(rejectionOf(error)?.reason, touchedReason);
    await early.script("ROLLBACK");
  });
});
