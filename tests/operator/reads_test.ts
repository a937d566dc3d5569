/**
 * The reports of the operator's tools, compared with the stored data: for every
 * kind of stream, with few rights, next to an owner, behind locks, and for a
 * database that a real node has made.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, before, describe, it } from "node:test";
import { isStreamStorageError } from "../../mod.ts";
import {
  findStores,
  inspectStream,
  listBlocks,
  listStreams,
  type ListStreamsOptions,
  mediaStatus,
  readBlock,
  simulateTrimming,
  storeStatus,
  type StoreUsage,
  storeUsage,
  type StreamSizes,
} from "../../src/operator/mod.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import {
  type EveryKind,
  type FilledSchema,
  fillSchema,
  makeEveryKind,
} from "../support/every_kind.ts";
import {
  hasNodeFixture,
  nodeDump,
  nodeReads,
  nodeSchema,
} from "../support/go_node_fixture.ts";
import { openSession } from "../support/migration_connection.ts";
import { openTestStorage } from "../support/storage.ts";

let filled: FilledSchema;
let place: { url: string; schema: string };
let ids: EveryKind;

before(async () => {
  filled = await fillSchema();
  const { url, schema } = filled;
  place = { url, schema };
  ids = filled.copies[0]!;
});
after(() => filled?.[Symbol.asyncDispose]());

/** The names of the streams, in the order of their ids. */
function namesOf(streams: readonly { streamId: StreamId }[]): string[] {
  const names = new Map(Object.entries(ids).map(([name, id]) => [id, name]));
  return streams.map(({ streamId }) => names.get(streamId) ?? streamId).sort();
}

async function listed(
  filter: Partial<ListStreamsOptions>,
): Promise<StreamSizes[]> {
  return (await Array.fromAsync(listStreams({ ...place, ...filter }))).flat();
}

const reasons = (error: unknown) =>
  isStreamStorageError(error) ? error.details.reason : error;

describe("storeStatus", () => {
  it("reports versions, streams and tables", async () => {
    const status = await storeStatus(place);
    assert.deepEqual(status.versions, status.currentVersions);
    const { partitions, owner, lockHolders, isDirty } = status;
    assert.deepEqual(
      { partitions, owner, lockHolders, isDirty },
      { partitions: 2, owner: null, lockHolders: [], isDirty: false },
    );
    const streams = status.streams!.map(
      ({ type, isEphemeral, location, streams }) =>
        `${type} ${isEphemeral} ${location} ${streams}`,
    ).sort();
    assert.deepEqual(streams, [
      "channel false database 4",
      "media false database 2",
      "media false s3 1",
      "media true database 1",
      "space false database 5",
    ]);
    const blocks = status.tables.find(({ name }) => name === "miniblocks")!;
    assert.equal(blocks.tables, 4n);
    assert.ok(blocks.tableBytes > 0n && blocks.indexBytes > 0n);
    assert.match(status.server.version, /^\d+/);
  });

  it("names the owner and the holder of the lock", async () => {
    await using test = await openTestStorage({
      partitions: 2,
      instanceId: "the one",
      applicationName: "holds it",
    });
    const { owner, lockHolders } = await storeStatus({
      url: test.url,
      schema: test.schema,
    });
    assert.equal(owner?.name, "the one");
    assert.deepEqual(
      lockHolders?.map(({ application }) => application),
      ["holds it"],
    );
  });

  it("waits for no lock: it estimates sizes and leaves out streams", async () => {
    await using session = await openSession(place.url);
    await session.script(`BEGIN; LOCK TABLE "${place.schema}".miniblocks_r00,
      "${place.schema}".es IN ACCESS EXCLUSIVE MODE`);
    const status = await storeStatus(place);
    assert.equal(status.areSizesEstimated, true);
    assert.equal(status.streams, undefined);
    assert.ok(status.longestTransaction!.seconds >= 0);
    await session.script("ROLLBACK");
  });

  it("refuses a schema that is not a store or does not exist", async () => {
    for (
      const [schema, reason] of [["public", "not_a_store"], [
        "nowhere",
        "schema_not_found",
      ]] as const
    ) {
      await assert.rejects(
        storeStatus({ url: place.url, schema }),
        (error) => reasons(error) === reason,
      );
    }
  });

  it("finds the stores of a database", async () => {
    const stores = await findStores({ url: place.url });
    assert.ok(stores.some(({ schema }) => schema === place.schema));
    assert.ok(!stores.some(({ schema }) => schema === "public"));
  });
});

describe("storeUsage", () => {
  /** The bytes of a column in all partitions. */
  async function bytesIn(table: string, column: string): Promise<number> {
    const sums = ["r00", "r01", "m00", "m01"].map((suffix) =>
      `(SELECT coalesce(sum(octet_length(${column})), 0)
        FROM @.${table}_${suffix})`
    );
    const [[sum] = []] = await filled.sql(`SELECT ${sums.join(" + ")}`);
    return Number(sum);
  }

  it("adds up the stored bytes", async () => {
    const { total, payloadBytes, types, largest, sample } = await storeUsage(
      place,
    );
    assert.equal(sample, undefined);
    assert.equal(total.streams, 13);
    assert.equal(total.blockBytes, await bytesIn("miniblocks", "blockdata"));
    assert.equal(total.snapshotBytes, await bytesIn("miniblocks", "snapshot"));
    assert.equal(total.minipoolBytes, await bytesIn("minipools", "envelope"));
    assert.equal(
      total.candidateBytes,
      await bytesIn("miniblock_candidates", "blockdata"),
    );
    const parts = total.blockBytes + total.snapshotBytes +
      total.minipoolBytes + total.candidateBytes;
    assert.equal(payloadBytes, parts);
    assert.deepEqual(types.map(({ type }) => type).sort(), [
      "channel",
      "media",
      "space",
    ]);
    const sizes = largest.map(({ bytes }) => Number(bytes));
    assert.deepEqual(sizes, sizes.toSorted((a, b) => b - a));
    assert.equal(largest.length, 10);
  });

  it("passes on every stream, and describes a sample", async () => {
    const seen: StreamSizes[] = [];
    await storeUsage({
      ...place,
      onStreams: (streams) => void seen.push(...streams),
    });
    assert.equal(seen.length, 13);
    const usage: StoreUsage = await storeUsage({ ...place, sample: 40 });
    assert.ok(usage.sample!.streams <= 13);
    assert.equal(usage.largest.length, Math.min(10, usage.sample!.streams));
    await assert.rejects(
      storeUsage({ ...place, sample: 0 }),
      (error) => reasons(error) === "out_of_range",
    );
  });
});

describe("listStreams", () => {
  it("lists matching streams in the order of their ids", async () => {
    const all = await listed({});
    const found = all.map(({ streamId }) => streamId);
    assert.deepEqual(found, found.toSorted());
    assert.equal(all.length, 13);
    const cases: [Partial<ListStreamsOptions>, string[]][] = [
      [{ types: ["media"] }, [
        "ephemeral",
        "legacyMedia",
        "offloaded",
        "sealed",
      ]],
      [{ isEphemeral: true }, ["ephemeral"]],
      [{ types: ["media"], isEphemeral: false, location: "database" }, [
        "legacyMedia",
        "sealed",
      ]],
      [{ location: "s3" }, ["offloaded"]],
      [{ hasGaps: true }, ["ephemeral", "gapped"]],
      [{ minipoolOver: 2, types: ["space"] }, ["legacy", "regular"]],
      [{ largerThan: 3000 }, ["gapped", "regular"]],
      [{ prefix: ids.fresh.slice(0, 12) }, ["fresh"]],
      [{ prefix: ids.nobody.slice(0, 12) }, []],
      [{ after: found[11]! }, namesOf([{ streamId: found[12]! }])],
    ];
    for (const [filter, names] of cases) {
      assert.deepEqual(namesOf(await listed(filter)), names);
    }
  });

  it("refuses a prefix that is not hexadecimal", async () => {
    await assert.rejects(
      listed({ prefix: "xyz" }),
      (error) => reasons(error) === "bad_prefix",
    );
  });
});

describe("inspectStream", () => {
  const inspected = (name: keyof EveryKind) =>
    inspectStream({ ...place, streamId: ids[name] });

  it("shows runs, snapshots beside and inside blocks, and findings", async () => {
    const shapes: [keyof EveryKind, string, string][] = [
      ["regular", "0-5", "0b 3b"],
      ["gapped", "0-2 10-12", "0b 10b"],
      ["legacy", "0-4", "0i 2i"],
      ["trimmed", "4-8", "4b 7b"],
      ["offloaded", "0-3", ""],
      ["ephemeral", "0-1 3-3", ""],
      ["unwritten", "", ""],
    ];
    for (const [name, runs, snapshots] of shapes) {
      const stream = await inspected(name);
      assert.equal(
        stream.runs.map(({ first, last }) => `${first}-${last}`).join(" "),
        runs,
        name,
      );
      assert.equal(
        stream.snapshotPlaces.map(({ number, kind }) => `${number}${kind[0]}`)
          .join(" "),
        snapshots,
        name,
      );
      const wrong = stream.findings.filter(({ severity }) =>
        severity !== "note"
      );
      assert.deepEqual(wrong, [], name);
    }
  });

  it("shows minipool and candidates", async () => {
    const { minipool, events, candidatePlaces } = await inspected("regular");
    assert.deepEqual(minipool, {
      rows: 4n,
      generation: 6n,
      lastGeneration: 6n,
      firstSlot: -1n,
      lastSlot: 2n,
    });
    assert.equal(events, 3n);
    assert.deepEqual(candidatePlaces.map(({ number }) => number), [8n, 6n]);
  });

  it("finds a stream by the beginning of its id", async () => {
    const streamId = ids.gapped.slice(0, 12);
    const stream = await inspectStream({ ...place, streamId });
    assert.equal(stream.streamId, ids.gapped);
    const cases = [
      ["10", "ambiguous_id"],
      ["zz", "bad_stream_id"],
      [ids.nobody, "stream_not_found"],
      [ids.nobody.slice(0, 12), "stream_not_found"],
    ] as const;
    for (const [streamId, reason] of cases) {
      await assert.rejects(
        inspectStream({ ...place, streamId }),
        (error) => reasons(error) === reason,
      );
    }
  });

  it("lists blocks and reads one", async () => {
    const numbersOf = async (name: keyof EveryKind, from = 0n) => {
      const options = { ...place, streamId: ids[name], from };
      const pages = await Array.fromAsync(listBlocks(options));
      return pages.flat().map(({ number }) => Number(number));
    };
    assert.deepEqual(await numbersOf("gapped"), [0, 1, 2, 10, 11, 12]);
    assert.deepEqual(await numbersOf("gapped", 3n), [10, 11, 12]);
    assert.deepEqual(await numbersOf("offloaded"), [0, 1, 2, 3]);
    const streamId = ids.regular;
    const { data, snapshot } = await readBlock({
      ...place,
      streamId,
      number: 3n,
    });
    const [[stored] = []] = await filled.sql(
      `SELECT encode(blockdata, 'hex') FROM @.miniblocks_{regular}
        WHERE stream_id = 'regular' AND seq_num = 3`,
    );
    assert.equal(Buffer.from(data).toString("hex"), stored);
    assert.ok(snapshot!.length > 0);
    for (const name of ["regular", "offloaded"] as const) {
      await assert.rejects(
        readBlock({ ...place, streamId: ids[name], number: 99n }),
        (error) => reasons(error) === "miniblock_not_found",
      );
    }
  });

  it("reports damage", async () => {
    await filled.sql(
      `DELETE FROM @.minipools_{regular} WHERE stream_id = 'regular'
        AND slot_num = 1`,
    );
    try {
      const { findings } = await inspected("regular");
      assert.deepEqual(findings.map(({ finding }) => finding), [
        "minipool_hole",
      ]);
    } finally {
      await filled.restore();
    }
  });
});

describe("simulateTrimming", () => {
  it("reports what the owner would cut", async () => {
    await using test: TestStreamStorage = await openTestStorage({
      partitions: 2,
      trimming: { historyMiniblocks: { default: 1n } },
    });
    const its = await makeEveryKind(test);
    const { url, schema } = test;
    const trimmings = [
      { historyMiniblocks: { default: 1n } },
      { historyMiniblocks: { default: 0n, channel: 2n } },
      { targets: [{ streamId: its.regular, miniblock: 3n }] },
    ];
    for (const trimming of trimmings) {
      await test.storage.maintenance.updateTrimming(trimming);
      const due = await test.storage.maintenance.trimStreams({ dryRun: true });
      const simulated = await simulateTrimming({ url, schema, trimming });
      const ordered = simulated.largest.toSorted((a, b) =>
        a.streamId < b.streamId ? -1 : 1
      );
      assert.deepEqual(ordered, due.trimmedStreams);
      assert.ok(due.trimmedStreams.length > 0);
      assert.equal(
        simulated.types.reduce((sum, { bytes }) => sum + bytes, 0n),
        due.bytes,
      );
      const refused = simulated.refusals.map(({ streamId }) => streamId);
      for (const { streamId } of due.refusals) {
        assert.ok(refused.includes(streamId));
      }
    }
  });
});

describe("mediaStatus", () => {
  it("reports where media streams are, and failed tasks", async () => {
    await filled.sql(
      `INSERT INTO @.stream_storage_media_tasks
        (stream_id, task, attempts, reason)
        VALUES ('sealed', 'offload', 3, 'no such bucket')`,
    );
    try {
      const { streams, unmoved, tasks, changes } = await mediaStatus(place);
      assert.deepEqual(
        streams.map(({ location, isEphemeral, streams }) =>
          `${location} ${isEphemeral} ${streams}`
        ).sort(),
        ["database false 2", "database true 1", "s3 false 1"],
      );
      assert.deepEqual([unmoved, changes], [1n, 0n]);
      const [task] = tasks!;
      assert.equal(tasks!.length, 1);
      assert.deepEqual(
        [task!.task, task!.reason, task!.streams, task!.attempts],
        ["offload", "no such bucket", 1n, 3n],
      );
    } finally {
      await filled.sql("DELETE FROM @.stream_storage_media_tasks");
    }
  });
});

const itWithFixture = hasNodeFixture ? it : it.skip;

describe("A database that a node has made", () => {
  itWithFixture("is reported like one of ours", async () => {
    await using session = await openSession(place.url);
    await session.script(`DROP SCHEMA IF EXISTS ${nodeSchema} CASCADE`);
    await session.script(nodeDump());
    const { url } = place;
    const node = { url, schema: nodeSchema };
    try {
      const { streams } = nodeReads();
      const count = Object.keys(streams).length;
      const status = await storeStatus(node);
      assert.equal(status.versions.own, 0);
      const usage = await storeUsage(node);
      const pages = await Array.fromAsync(listStreams(node));
      assert.equal(pages.flat().length, usage.total.streams);
      assert.ok(usage.total.streams >= count - 1, `${usage.total.streams}`);
      assert.equal((await mediaStatus(node)).tasks, undefined);
      for (const { streamId } of pages.flat().slice(0, 4)) {
        const { findings } = await inspectStream({ ...node, streamId });
        assert.deepEqual(
          findings.filter(({ severity }) => severity === "error"),
          [],
        );
      }
    } finally {
      await session.script(`DROP SCHEMA IF EXISTS ${nodeSchema} CASCADE`);
    }
  });
});
