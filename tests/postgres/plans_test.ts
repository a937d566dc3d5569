/**
 * Every statement finds its rows by an index, in an empty and in a full store
 * on a real server. The plans of an empty store are golden for each major
 * version; those of a full one depend on sampled statistics, so they are not.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import type { Statement } from "../../src/database/statement.ts";
import { baseType } from "../../src/database/wire/types.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { assertGolden, hasGolden } from "../support/golden.ts";
import { openSession } from "../support/migration_connection.ts";
import { statements } from "../support/statements.ts";
import { openTestStorage } from "../support/storage.ts";

const suffix = "r00";

/** These statements read a whole index, because they concern every stream. */
const wholeIndex = new Set([
  "counts.countMediaTasks",
  "counts.countStreamsByType",
  "streams.countStreams",
]);

/** A node of a plan in EXPLAIN's JSON. */
interface PlanNode {
  "Node Type": string;
  Operation?: string;
  "Index Name"?: string;
  "Relation Name"?: string;
  "Index Cond"?: string;
  Plans?: PlanNode[];
}

/** The generic plan of a statement, under the settings of a store's session. */
async function planOf(
  session: Session,
  { text, params }: Statement,
): Promise<PlanNode> {
  const types = params.map(baseType);
  const nulls = types.map((type) => `NULL::${type}`);
  const list = (items: string[]) => items.length ? `(${items.join(", ")})` : "";
  const [row] = await session.script(
    `SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
     SET enable_bitmapscan = off; SET jit = off;
     PREPARE planned${list(types)} AS ${text};
     EXPLAIN (COSTS OFF, FORMAT JSON) EXECUTE planned${list(nulls)}`,
  );
  await session.script("DEALLOCATE planned");
  return JSON.parse(row![0]!)[0].Plan;
}

function nodesOf(plan: PlanNode): PlanNode[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

/** A line for each node, children indented. */
function outline(plan: PlanNode, indent = "  "): string {
  const names = [
    plan["Node Type"],
    plan.Operation,
    plan["Index Name"] ?? plan["Relation Name"],
  ];
  const line = `${indent}${names.filter(Boolean).join(" ")}\n`;
  const children = (plan.Plans ?? []).map((child) =>
    outline(child, `${indent}  `)
  );
  return line + children.join("");
}

/** It has one row and no key: the scan checks that there is no other row. */
const ownerTable = "singlenodekey";

/** The parts of a plan whose cost grows with the size of the store. */
function faultsOf(name: string, plan: PlanNode): string[] {
  const nodes = nodesOf(plan);
  const types = nodes.map((node) => node["Node Type"]);
  const whole = nodes.filter((node) => node["Node Type"] === "Seq Scan")
    .map((node) => node["Relation Name"])
    .filter((table) => table !== ownerTable);
  if (whole.length > 0) return [`${name} reads all of ${whole}`];
  if (types.includes("Bitmap Heap Scan")) {
    return [`${name} loses the order of the index`];
  }
  const unbound = nodes.filter((node) =>
    /Index/.test(node["Node Type"]) && node["Index Cond"] === undefined
  );
  if (unbound.length > 0 && !wholeIndex.has(name)) {
    return [`${name} reads a whole index`];
  }
  // Only an insert of given values reads no table at all.
  return types.some((type) => /Index|ModifyTable|Tid Scan/.test(type))
    ? []
    : [`${name} reads neither by an index nor by places`];
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

  it("exist for more than 40 statements", () => {
    assert.ok(statements(test.schema).length > 40);
  });

  /** Checks all plans; returns their outlines. */
  async function checkAll(): Promise<string> {
    const faults: string[] = [];
    let outlines = "";
    for (const [name, statement] of statements(test.schema)) {
      const plan = await planOf(session, statement);
      faults.push(...faultsOf(name, plan));
      outlines += `${name}\n${outline(plan)}`;
    }
    assert.deepEqual(faults, []);
    return outlines;
  }

  it("use indexes while the tables are empty", async () => {
    const outlines = await checkAll();
    const [row] = await session.script("SHOW server_version_num");
    const golden = `plans_${Math.floor(Number(row![0]) / 10_000)}.txt`;
    if (hasGolden(golden)) await assertGolden(golden, outlines);
  });

  it("use indexes when there are thousands of rows and statistics", async () => {
    const { storage, schema } = test;
    const id = newStreamId();
    const data = new Uint8Array(200);
    await storage.reinitializeStreamStorage(
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
        (_, slot) => storage.writeEvent(id, 3000n, slot, data),
      ),
    );
    await Promise.all(
      Array.from(
        { length: 500 },
        () => storage.createStreamStorage(newStreamId(), { number: 0n, data }),
      ),
    );
    const tables = new Catalog(schema, 1).tablesAt(suffix);
    await session.script(
      `ANALYZE ${tables.streams}, ${tables.miniblocks}, ${tables.minipools},
         ${tables.candidates}, ${tables.ephemeralAges},
         ${tables.trimmingMarks}, ${tables.workers}`,
    );
    await checkAll();
  });
});
