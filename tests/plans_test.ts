/** Every statement finds its rows by an index, in an empty and a full store. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Session } from "../src/database/session.ts";
import type { Statement } from "../src/database/statement.ts";
import { baseType } from "../src/database/wire/types.ts";
import { Catalog } from "../src/postgres/catalog.ts";
import * as candidates from "../src/postgres/sql/candidates.ts";
import * as miniblocks from "../src/postgres/sql/miniblocks.ts";
import * as minipools from "../src/postgres/sql/minipools.ts";
import * as reading from "../src/postgres/sql/reading.ts";
import * as state from "../src/postgres/sql/state.ts";
import * as streams from "../src/postgres/sql/streams.ts";
import { newStreamId } from "../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../src/testing/create_test_stream_storage.ts";
import { openSession } from "./support/migration_connection.ts";
import { openTestStorage } from "./support/storage.ts";

const modules = { candidates, miniblocks, minipools, reading, state, streams };
const suffix = "r00";

function statements(schema: string): [string, Statement][] {
  const catalog = new Catalog(schema, 1);
  return Object.entries(modules).flatMap(([file, module]) =>
    Object.entries(module).flatMap(([name, make]): [string, Statement][] => {
      if (typeof make !== "function" || make.length !== 1) return [];
      const made = catalog.at(suffix, make as never) as Statement;
      return made.text.startsWith("COPY") ? [] : [[`${file}.${name}`, made]];
    })
  );
}

/** The plan that a session of the store keeps. */
async function planOf(session: Session, { text, params }: Statement) {
  const types = params.map(baseType);
  const nulls = types.map((type) => `NULL::${type}`);
  const list = (items: string[]) => items.length ? `(${items.join(", ")})` : "";
  const rows = await session.script(
    `SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
     SET jit = off; PREPARE planned${list(types)} AS ${text};
     EXPLAIN (COSTS OFF) EXECUTE planned${list(nulls)}`,
  );
  await session.script("DEALLOCATE planned");
  return rows.map(([line]) => line).join("\n");
}

describe("Plans", () => {
  let test: TestStreamStorage;
  let session: Session;

  before(async () => {
    test = await openTestStorage({ partitions: 1 });
    session = await openSession(test.url);
  });
  after(async () => {
    await session.close();
    await test[Symbol.asyncDispose]();
  });

  it("there are statements to check", () => {
    assert.ok(statements(test.schema).length > 40);
  });

  async function checkAll(): Promise<void> {
    const scans: string[] = [];
    for (const [name, statement] of statements(test.schema)) {
      const plan = await planOf(session, statement);
      if (/\bSeq Scan\b/.test(plan)) scans.push(`${name}\n${plan}`);
      // Only an insert of given values reads no table at all.
      assert.match(
        plan,
        /Index|Bitmap|Insert/,
        `${name} uses no index\n${plan}`,
      );
    }
    assert.deepEqual(scans, []);
  }

  it("use indexes while the tables are empty", checkAll);

  it("use indexes with thousands of rows and statistics", async () => {
    const id = newStreamId();
    const data = new Uint8Array(200);
    await test.storage.reinitializeStreamStorage(
      id,
      Array.from({ length: 3000 }, (_, i) => ({
        number: BigInt(i),
        data,
        snapshot: data,
      })),
      2999n,
      false,
    );
    await Promise.all(
      Array.from(
        { length: 2000 },
        (_, slot) => test.storage.writeEvent(id, 3000n, slot, data),
      ),
    );
    await Promise.all(
      Array.from(
        { length: 500 },
        () =>
          test.storage.createStreamStorage(newStreamId(), { number: 0n, data }),
      ),
    );
    await session.script("ANALYZE");
    await checkAll();
  });
});
