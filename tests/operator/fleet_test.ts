/**
 * A fleet's plan: its arithmetic, its refusals, and a comparison of its figures
 * with a server at three sizes. tests/cluster/fleet_test.ts compares with a
 * cluster.
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  type FleetDescription,
  type FleetPlan,
  migrateStore,
  planFleet,
  type PlannedStore,
  type StoreGroup,
} from "../../src/operator/mod.ts";
import { valueText } from "../../src/cli/fleet/show_plan.ts";
import { along, costs } from "../../src/operator/fleet/costs.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { measureEvents } from "../../scripts/fleet_costs/load.ts";
import { Node } from "../../scripts/fleet_costs/nodes.ts";
import { added, relationsOf } from "../../scripts/fleet_costs/relations.ts";
import {
  everyCall,
  idsByPartition,
  streamsOfEveryCall,
} from "../../scripts/server_memory/calls.ts";
import { runCli } from "../support/cli/run.ts";
import { assertGenerated } from "../support/docs/generated_sections.ts";
import {
  createTestDatabase,
  queryOnce,
  type TestDatabase,
} from "../support/database.ts";
import { openTestStorage } from "../support/storage.ts";

const node: StoreGroup = {
  partitions: 16,
  streams: 0,
  eventsPerSecond: 10,
  eventBytes: 300,
  retentionDays: 10,
};
const worker = { memoryGB: 16, cores: 8, diskGB: 100 };

const fleet = (
  stores: Partial<StoreGroup>[],
  more: Partial<FleetDescription> = {},
): FleetPlan =>
  planFleet({
    stores: stores.map((store) => ({ ...node, ...store })),
    worker,
    ...more,
  });

describe("A fleet's plan", () => {
  it("adds up the needs of each store", () => {
    const { kind, servers, workers, stores, coordinator } = fleet([{
      count: 3,
    }]);
    const [store] = stores;
    const [server] = workers;
    assert.deepEqual([kind, servers, coordinator], ["plain", 1, null]);
    assert.equal(server!.stores, 3);
    for (
      const need of ["connections", "relations", "diskBytes", "cores"] as const
    ) {
      const sum = 3 * store![need];
      assert.ok(Math.abs(server![need] - sum) <= sum * 1e-9, need);
    }
    assert.equal(store!.tables, 16 * 7 + 12);
    assert.equal(store!.connections, 10);
  });

  it("is arithmetic that can be done by hand", () => {
    const [store] = fleet([{
      partitions: 4,
      streams: 1000,
      eventsPerSecond: 2,
      eventBytes: 1000,
      retentionDays: 3,
      mediaGB: 2,
      connections: 5,
    }]).stores;
    const { relations, catalogueBytes, emptyBytes, streamBytes } = costs;
    const tables = 4 * relations.value.perPartition + relations.value.others;
    const at1000 = (points: typeof costs.diskBytes.value) =>
      points.find(([bytes]) => bytes === 1000)![1];
    assert.deepEqual(
      {
        relations: store!.relations,
        catalogueBytes: store!.catalogueBytes,
        diskBytes: Math.round(store!.diskBytes),
        logBytesPerDay: store!.logBytesPerDay,
        memoryBytes: store!.memoryBytes,
        cores: store!.cores.toFixed(9),
        logicalSeconds: store!.logicalSeconds.toFixed(6),
      },
      {
        relations: tables,
        catalogueBytes: tables * catalogueBytes.value,
        diskBytes: tables * (catalogueBytes.value + emptyBytes.value) +
          2 * 86_400 * 3 * at1000(costs.diskBytes.value) +
          1000 * streamBytes.value + 2e9 * costs.mediaFactor.value,
        logBytesPerDay: 2 * 86_400 * at1000(costs.logBytes.value),
        // Fewer partitions than any measured number cost as much as the lowest
        // measured number.
        memoryBytes: costs.memoryBytes.value[0]![1] / 2,
        cores: (2e-6 * (costs.processorMicros.value[0]![1] +
          700 * costs.processorMicrosPerByte.value)).toFixed(9),
        logicalSeconds: (40 * costs.logicalMove.value.secondsPerTable +
          (store!.diskBytes - store!.catalogueBytes) /
            costs.logicalMove.value.bytesPerSecond).toFixed(6),
      },
    );
  });

  it("needs more of everything for a larger fleet", () => {
    const [before] = fleet([{}]).stores;
    const more: [Partial<StoreGroup>, (keyof PlannedStore)[]][] = [
      [{ partitions: 64 }, ["relations", "memoryBytes", "logicalSeconds"]],
      [{ streams: 1000 }, ["diskBytes"]],
      [{ eventsPerSecond: 20 }, ["cores", "diskBytes", "logBytesPerDay"]],
      [{ eventBytes: 3000 }, ["cores", "diskBytes", "logBytesPerDay"]],
      [{ retentionDays: 20 }, ["diskBytes", "blockingSeconds"]],
      [{ mediaGB: 1 }, ["diskBytes"]],
      [{ connections: 20 }, ["memoryBytes", "connections"]],
    ];
    for (const [change, needs] of more) {
      const [after] = fleet([change]).stores;
      for (const need of needs) {
        assert.ok(
          after![need] > before![need],
          `${Object.keys(change)} ${need}`,
        );
      }
    }
    const [without] = fleet([{ mediaGB: 5, mediaInBucket: true }]).stores;
    assert.equal(without!.diskBytes, before!.diskBytes);
  });

  it("becomes an even cluster if one server is not enough", () => {
    const { kind, servers, workers, coordinator } = fleet(
      [{ count: 9, mediaGB: 10 }],
      { standbys: true },
    );
    assert.equal(kind, "cluster");
    assert.equal(servers, 2 * (workers.length + 1));
    const counts = workers.map(({ stores }) => stores);
    assert.equal(counts.reduce((a, b) => a + b), 9);
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, String(counts));
    for (const { diskBytes } of workers) assert.ok(diskBytes <= 70e9);
    // Every server has the tables of all stores, and those of its own stores a
    // second time.
    const one = 16 * 26 + 37;
    assert.equal(coordinator!.relations, 9 * one);
    for (const { stores, relations } of workers) {
      assert.equal(relations, (9 + stores) * one);
    }
  });

  it("stays on plain servers, or becomes a cluster, when the description says so", () => {
    const plain = fleet([{ count: 12, mediaGB: 10 }], { cluster: false });
    assert.deepEqual([plain.kind, plain.coordinator], ["plain", null]);
    assert.ok(plain.workers.length > 1);
    assert.equal(fleet([{}], { cluster: true }).workers.length, 1);
  });

  it("places thousands of stores of two kinds", () => {
    const { workers } = fleet([
      { count: 2000, mediaGB: 20, eventsPerSecond: 1 },
      { count: 1000, mediaGB: 2, eventsPerSecond: 1 },
    ], { worker: { ...worker, diskGB: 500 } });
    const stores = workers.reduce((sum, { stores }) => sum + stores, 0);
    assert.equal(stores, 3000);
    for (const { diskBytes } of workers) assert.ok(diskBytes <= 350e9);
  });

  it("names every wrong field, and every store that is too large", () => {
    const wrong = {
      stores: [{ ...node, partitions: 257, evens: 1 }],
      worker: { ...worker, cores: "8" },
    } as unknown as FleetDescription;
    const fields = (description: FleetDescription) => {
      try {
        planFleet(description);
      } catch (error) {
        assert.ok(isStreamStorageError(error, "BAD_CONFIG"));
        const { reason, faults, field, resource } = error.details;
        if (reason === "store_too_large") return [field, resource];
        assert.equal(reason, "bad_fleet");
        return (faults as { option: string }[]).map(({ option }) => option);
      }
      assert.fail("Expected a refusal");
    };
    assert.deepEqual(fields(wrong), [
      "stores.0",
      "stores.0.partitions",
      "worker.cores",
    ]);
    assert.deepEqual(fields({ stores: [], worker }), ["stores"]);
    const huge = [node, { ...node, mediaGB: 500 }];
    assert.deepEqual(fields({ stores: huge, worker }), [
      "stores.1",
      "diskBytes",
    ]);
  });

  it("follows the measured points, and only forward", () => {
    const points = [[10, 100], [20, 200], [40, 220]] as const;
    const at = (x: number, beyond: "level" | "straight" = "straight") =>
      along(points, x, beyond);
    assert.deepEqual([1, 10, 15, 20, 30, 40].map((x) => at(x)), [
      100,
      100,
      150,
      200,
      210,
      220,
    ]);
    assert.deepEqual([at(80), at(80, "level")], [260, 220]);
  });
});

describe("A server, at three sizes,", () => {
  let database: TestDatabase;
  let url = "";
  before(async () => {
    // A database of its own, because the tables of other tests would be counted,
    // too.
    database = await createTestDatabase();
    ({ url } = database);
  });
  after(async () => await database?.[Symbol.asyncDispose]());

  for (const [partitions, count] of [[2, 2], [8, 1], [24, 1]] as const) {
    it(`has the planned tables and bytes for ${count} of ${partitions} partitions`, async () => {
      await using server = await Node.connect("server", url);
      const before = await relationsOf(server);
      for (let nth = 0; nth < count; nth++) {
        const schema = `of_${partitions}_${nth}`;
        await migrateStore({ url, schema, partitions });
      }
      const sums = added(before, await relationsOf(server));
      const { workers, stores } = fleet([{
        partitions,
        count,
        eventsPerSecond: 0,
      }]);
      assert.equal(sums.tables, count * stores[0]!.tables);
      assert.equal(sums.relations, workers[0]!.relations);
      const { catalogueBytes, diskBytes } = workers[0]!;
      assertNear(sums.catalogueBytes, catalogueBytes, "catalogue");
      assertNear(sums.bytes, diskBytes - catalogueBytes, "empty tables");
    });
  }

  it("stores the planned bytes of events", async () => {
    await using storage = await openStreamStorage({
      url,
      schema: "events",
      partitions: 2,
      maxConnections: 5,
      startupDelayMs: 0,
      workerConcurrency: 0,
    });
    await using server = await Node.connect("server", url);
    const load = {
      streams: 40,
      rounds: 10,
      events: 5,
      eventBytes: 1000,
      callers: 20,
    };
    const measured = await measureEvents(storage, server, load);
    const [store] = fleet([{
      eventsPerSecond: 1,
      eventBytes: 1000,
      retentionDays: 1,
    }]).stores;
    const [empty] = fleet([{ eventsPerSecond: 0 }]).stores;
    const perEvent = (store!.diskBytes - empty!.diskBytes) / 86_400;
    assertNear(measured.diskBytes, perEvent, "disk");
  });
});

describe("A store's connections", () => {
  it("take at most the planned memory when all partitions are used", async () => {
    const partitions = 16;
    await using test = await openTestStorage({
      partitions,
      maxConnections: 10,
    });
    const calls = idsByPartition(partitions, streamsOfEveryCall);
    await Promise.all(
      calls.map((ids) => everyCall(test.storage, ids)),
    );
    const sessions = await queryOnce(
      test.url,
      `SELECT pid FROM pg_stat_activity
        WHERE query LIKE '%${test.schema}%' AND pid <> pg_backend_pid()`,
    );
    let bytes = 0;
    for (const { pid } of sessions) {
      const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8")
        .catch(() => "");
      bytes += 1024 * Number(/^Pss_Anon:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0);
    }
    const [store] = fleet([{ partitions }]).stores;
    assert.ok(bytes <= store!.memoryBytes * 1.2, String(bytes));
  });
});

describe("plan-fleet", () => {
  it("prints the plan and its assumptions in 80 columns", async () => {
    await using stack = new AsyncDisposableStack();
    const { file, description } = await describedFleet(stack);
    const [shown, asJson] = await Promise.all([
      runCli(["plan-fleet", file]),
      runCli(["plan-fleet", file, "--json"]),
    ]);
    assert.equal(shown!.code, 0, shown!.stderr);
    for (const line of shown!.stdout.split("\n")) {
      assert.ok([...line].length <= 80, line);
    }
    const plan = planFleet(description);
    assert.deepEqual(JSON.parse(asJson!.stdout), plan);
    const reported = shown!.stdout.replaceAll(/\s+/g, " ");
    for (const { what, how } of plan.assumptions) {
      assert.ok(reported.includes(`${what}: `), what);
      assert.ok(reported.includes(how), how);
    }
  });

  it("uses the figures of docs/scaling.md", () => {
    assertGenerated(
      "docs/scaling.md",
      "costs",
      Object.entries(costs).map(([name, { what, value, how }]) => ({
        name,
        kind: valueText(value),
        text: `${what}; ${how}.`,
      })),
    );
  });

  it("refuses anything but a description, in one line", async () => {
    await using stack = new AsyncDisposableStack();
    const { wrong, broken } = await describedFleet(stack);
    const ended = await Promise.all(
      [wrong, broken, `${wrong}.none`].map((path) =>
        runCli(["plan-fleet", path])
      ),
    );
    for (
      const [i, pattern] of [
        /worker: must be an object.*bad_fleet/,
        /Expected JSON in file/,
        /ENOENT/,
      ].entries()
    ) {
      const { code, stdout, stderr } = ended[i]!;
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, /^[^\n]+\n$/);
      assert.match(stderr, pattern);
    }
  });
});

async function describedFleet(stack: AsyncDisposableStack) {
  const folder = await mkdtemp(join(tmpdir(), "fleet-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const description: FleetDescription = {
    stores: [
      { ...node, name: "of a long name that takes a lot of room", count: 90 },
      { ...node, partitions: 256, mediaGB: 30 },
    ],
    worker,
    standbys: true,
  };
  const write = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  return {
    description,
    file: await write("fleet.json", JSON.stringify(description)),
    wrong: await write("wrong.json", '{"stores":[]}'),
    broken: await write("broken.json", '{"stores": HUNTER2'),
  };
}

/**
 * The plan can't be exact to the byte: files grow by pages, and the catalogue's
 * growth varies.
 */
function assertNear(measured: number, planned: number, what: string): void {
  const ratio = measured / planned;
  assert.ok(
    ratio > 0.6 && ratio < 1.4,
    `${what}: measured ${measured}, planned ${planned}`,
  );
}
