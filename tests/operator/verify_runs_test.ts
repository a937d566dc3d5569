/**
 * The runs of a verification: partial ones, resumed ones, and concurrent ones
 * with writers.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  type Finding,
  parseFindings,
  verify,
  type VerifyOptions,
  type VerifyState,
} from "../../src/operator/mod.ts";
import { currentVersions } from "../../src/database/migrations/numbers.ts";
import { expectedTables } from "../../src/operator/verify/schema_shape.ts";
import { eventHash } from "../../src/operator/verify/deep/protocol_hash.ts";
import { keccak256 } from "../../src/operator/verify/deep/keccak.ts";
import {
  bytesToHex,
  partitionSuffix,
  type StreamId,
} from "../../src/storage/stream_id.ts";
import {
  assertFails,
  bytes,
  candidate,
  newStreamId,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { openSession } from "../support/migration_connection.ts";
import { chain } from "../support/protocol_blocks.ts";
import { openTestStorage } from "../support/storage.ts";

const streams = 1000;
const broken = 20;

/** A schema of one partition, so that it takes several pages. */
async function manyStreams(): Promise<TestStreamStorage> {
  const test = await openTestStorage({ partitions: 1 });
  await test.storage.close();
  await using session = await openSession(test.url);
  await session.script(
    `SET search_path = "${test.schema}";
    CREATE TEMP TABLE id AS SELECT i, CASE WHEN i % 4 = 0 THEN 'ff' ELSE '20' END
      || lpad(to_hex(i), 62, '0') AS id FROM generate_series(1, ${streams}) AS i;
    INSERT INTO es SELECT id,
      CASE WHEN i % ${streams / broken} = 0 THEN 7 ELSE 0 END, true FROM id;
    INSERT INTO miniblocks_r00 SELECT id, n, 'block', 'snapshot'
      FROM id, generate_series(0, 2) AS n WHERE id < 'f';
    INSERT INTO miniblocks_m00 SELECT id, n, 'block', 'snapshot'
      FROM id, generate_series(0, 2) AS n WHERE id > 'f';
    INSERT INTO minipools_r00 SELECT id, 3, n, 'event'
      FROM id, generate_series(0, 1) AS n WHERE id < 'f';
    INSERT INTO minipools_r00 SELECT id, 3, -1, NULL FROM id WHERE id < 'f';
    INSERT INTO minipools_m00 SELECT id, 3, -1, NULL FROM id WHERE id > 'f'`,
  );
  return test;
}

const text = (finding: Finding) => JSON.stringify(finding);

describe("A verification of many streams", () => {
  let test: TestStreamStorage;
  before(async () => {
    test = await manyStreams();
  });
  after(() => test[Symbol.asyncDispose]());

  function start(options: Partial<VerifyOptions> = {}) {
    const { url, schema } = test;
    return verify({ url, schema, ...options });
  }

  async function findings(
    options: Partial<VerifyOptions> = {},
  ): Promise<string[]> {
    return (await Array.fromAsync(start(options))).map(text).sort();
  }

  it("counts streams, blocks and events", async () => {
    const run = start();
    assert.equal((await Array.fromAsync(run)).length, broken);
    const { seconds, ...counts } = run.summary;
    assert.ok(seconds > 0);
    assert.deepEqual(counts, {
      streams,
      blocks: streams * 3,
      events: streams * 3 / 4 * 2,
      errors: broken,
      warnings: 0,
      notes: 0,
      acknowledged: 0,
      unjudged: 0,
    });
  });

  it("continues where another run has stopped, after any page", async () => {
    const all = await findings();
    const pages = await countPages();
    assert.ok(pages > 5, `${pages} pages`);
    for (let stopAfter = 1; stopAfter < pages; stopAfter++) {
      const { reported, state } = await stopped(stopAfter);
      const rest = start({ resume: state });
      reported.push(...await Array.fromAsync(rest));
      assert.deepEqual(reported.map(text).sort(), all);
      assert.equal(rest.summary.streams, streams);
      assert.equal(rest.summary.errors, broken);
    }
  });

  async function countPages(): Promise<number> {
    let pages = 0;
    await findings({ concurrency: 2, onProgress: () => pages++ });
    return pages;
  }

  /**
   * The findings up to the end of a page, and the state after it, through JSON.
   */
  async function stopped(
    page: number,
  ): Promise<{ reported: Finding[]; state: VerifyState }> {
    const reported: Finding[] = [];
    let kept = { state: "", reported: 0 };
    let left = page;
    const controller = new AbortController();
    const run = start({
      concurrency: 2,
      signal: controller.signal,
      onProgress: ({ state }) => {
        if (left === 0) return;
        kept = { state: JSON.stringify(state), reported: reported.length };
        if (--left === 0) controller.abort();
      },
    });
    await assert.rejects(async () => {
      for await (const finding of run) reported.push(finding);
    });
    return {
      reported: reported.slice(0, kept.reported),
      state: JSON.parse(kept.state),
    };
  }

  it("examines only some streams or some types", async () => {
    const all = await Array.fromAsync(start());
    const [one, other] = all.map(({ streamId }) => streamId!);
    const some = await Array.fromAsync(start({ streamIds: [one!, other!] }));
    assert.deepEqual(
      some.map(({ streamId }) => streamId).sort(),
      [one, other].sort(),
    );
    const media = start({ types: ["media"] });
    const isMedia = ({ streamId }: Finding) => streamId!.startsWith("ff");
    assert.deepEqual(
      (await Array.fromAsync(media)).map(text).sort(),
      all.filter(isMedia).map(text).sort(),
    );
    assert.equal(media.summary.streams, streams / 4);
    await assertFails(Array.fromAsync(start({ streamIds: [newStreamId()] })), {
      code: "NOT_FOUND",
      operation: "verify",
    });
  });

  it("only counts known findings", async () => {
    const lines = (await Array.fromAsync(start())).slice(5).map(text);
    const summary = JSON.stringify({ summary: start().summary });
    const run = start({
      acknowledged: parseFindings([...lines, "", summary].join("\n")),
    });
    assert.equal((await Array.fromAsync(run)).length, 5);
    assert.equal(run.summary.errors, 5);
    assert.equal(run.summary.acknowledged, broken - 5);
    for (const bad of ["text", "[1", '{"finding":1}', "3"]) {
      assert.throws(() => parseFindings(bad), { code: "INVALID_ARGUMENT" });
    }
  });

  it("reads no faster than its rate", async () => {
    const run = start({ rate: 2_000_000 });
    await Array.fromAsync(run);
    // There are some 5500 rows, and each counts as 100 bytes.
    assert.ok(run.summary.seconds > 0.2, `${run.summary.seconds} s`);
  });

  it("stops at once when its signal aborts", async () => {
    const controller = new AbortController();
    const run = start({ signal: controller.signal, rate: 1 });
    const iterator = run[Symbol.asyncIterator]();
    await iterator.next();
    controller.abort();
    await assertFails(Array.fromAsync(iterator), {
      code: "CANCELED",
      operation: "verify",
    });
    await assertFails(Array.fromAsync(start({ signal: AbortSignal.abort() })), {
      code: "CANCELED",
    });
  });

  it("refuses options that make no sense", async () => {
    const { url, schema } = test;
    for (
      const options of [
        { level: "thorough" },
        { since: 0 },
        { rate: -1 },
        { concurrency: 1.5 },
        { resume: { version: 1, level: "deep", schema } },
      ]
    ) {
      assert.throws(
        () => verify({ url, schema, ...options } as VerifyOptions),
        { code: "INVALID_ARGUMENT" },
      );
    }
    await assertFails(Array.fromAsync(start({ schema: "no_such_schema" })), {
      code: "BAD_CONFIG",
      reason: "schema_not_found",
    });
  });
});

describe("A resumed verification at level deep", () => {
  it("reports and counts every fault that the first run held back", async () => {
    await using test = await openTestStorage({ partitions: 4 });
    const { url, schema, storage } = test;
    const make = async (suffix: string, isBroken: boolean) => {
      let id = newStreamId("space");
      while (partitionSuffix(id, 4) !== suffix) id = newStreamId("space");
      const [block] = chain({ count: 1, snapshots: [0] });
      const data = isBroken ? bytes("no block") : block!.data;
      await storage.createStreamStorage(id, { ...block!, data });
    };
    // Only a right block shows that the protocol's rules apply to the others.
    await make("r00", true);
    await make("r01", false);
    await make("r02", true);
    const options = { url, schema, level: "deep", concurrency: 1 } as const;
    const all = await Array.fromAsync(verify(options), text);
    assert.equal(all.length, 2);
    for (let stopAfter = 1, isOver = false; !isOver; stopAfter++) {
      const reported = new Set<string>();
      let left = stopAfter;
      const controller = new AbortController();
      const first = verify({
        ...options,
        signal: controller.signal,
        onProgress: () => {
          if (--left === 0) controller.abort();
        },
      });
      try {
        for await (const finding of first) reported.add(text(finding));
        isOver = left > 0;
      } catch (error) {
        if (!controller.signal.aborted) throw error;
      }
      const resume = JSON.parse(JSON.stringify(first.state));
      const second = verify({ ...options, resume });
      for await (const finding of second) reported.add(text(finding));
      assert.deepEqual(
        [...reported].sort(),
        all.toSorted(),
        `after ${stopAfter}`,
      );
      const { streams, blocks, errors } = second.summary;
      assert.deepEqual([streams, blocks, errors], [3, 3, 2]);
    }
  });
});

describe("The tables that a verification expects", () => {
  it("are those that the migrations make, with all their columns", async () => {
    await using test = await openTestStorage({ partitions: 1 });
    await using session = await openSession(test.url);
    const made = await session.script(
      `SELECT relname || '.' || attname FROM pg_attribute
        JOIN pg_class c ON c.oid = attrelid
        WHERE relnamespace = '"${test.schema}"'::regnamespace AND relkind = 'r'
          AND attnum > 0 AND NOT attisdropped AND relname !~ 'migrations$'`,
    );
    const shape = { partitions: 1, ownVersion: currentVersions.own };
    const expected = expectedTables(shape).flatMap(({ name, columns }) =>
      Object.keys(columns).map((column) => `${name}.${column}`)
    );
    assert.deepEqual(expected.sort(), made.map(([name]) => name).sort());
  });
});

describe("A verification with concurrent writers", () => {
  it("finds nothing in any run", async () => {
    await using test = await openTestStorage({ maxConnections: 6 });
    const { url, schema } = test;
    let isOver = false;
    const writers = Array.from({ length: 6 }, async (_, i) => {
      while (!isOver) await (i < 4 ? live(test) : upload(test));
    });
    try {
      for (const level of ["structure", "deep", "structure", "deep"] as const) {
        const run = verify({ url, schema, level });
        for await (const finding of run) {
          // An archive stream has its first block later.
          assert.equal(finding.severity, "note", text(finding));
        }
      }
    } finally {
      isOver = true;
      await Promise.all(writers);
    }
  });

  /** The life of a stream. */
  async function live({ storage }: TestStreamStorage): Promise<void> {
    const id = newStreamId("channel");
    const blocks = chain({ count: 9, snapshots: [0, 2, 5], legacy: [7] });
    await storage.createStreamStorage(id, blocks[0]!);
    for (const block of blocks.slice(1)) {
      const generation = block.number;
      await storage.writeEvent(id, generation, 0, bytes("event"));
      await storage.writeMiniblockCandidate(id, candidate(Number(generation)));
      const next = { generation: generation + 1n, envelopes: [] };
      await storage.writeMiniblocks(id, [block], next, { generation });
    }
    await storage.trimStream(id, 5n, []);
    await storage.deleteStream(id);
  }

  async function upload({ storage }: TestStreamStorage): Promise<void> {
    const id = newStreamId("media");
    for (const block of chain({ count: 5, chunks: 4 }).reverse()) {
      await storage.writeEphemeralMiniblock(id, block);
    }
    await storage.normalizeEphemeralStream(id);
    const archive: StreamId = newStreamId("space");
    await storage.createStreamArchiveStorage(archive);
    await storage.writeArchiveMiniblocks(archive, 0n, chain({ count: 2 }));
    await storage.deleteStream(archive);
    await storage.deleteStream(id);
  }
});

describe("The protocol's hash", () => {
  it("equals the node's", () => {
    const hex = (data: Uint8Array) => bytesToHex(data);
    assert.equal(
      hex(keccak256()),
      "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    );
    // The values come from the tests of the nodes' repository.
    assert.equal(
      hex(eventHash(bytes("Hello, World!"))),
      "c6252c41c99028ea8600a2d9818d8dcfdf13ab69f9d4df54cbc1d1ed1a475592",
    );
  });

  it("does not depend on how the data are split", () => {
    const data = new Uint8Array(400_000).map((_, i) => i * 31 + (i >> 8));
    const whole = bytesToHex(keccak256(data));
    for (
      const at of [0, 1, 135, 136, 137, 120_000, 130_560, 130_561, 400_000]
    ) {
      const parts = [data.subarray(0, at), data.subarray(at)];
      assert.equal(bytesToHex(keccak256(...parts)), whole);
    }
  });
});
