/**
 * The demo: its history has everything that can be stored, its verifier notices
 * one wrong byte in a real store, and the program cleans up however it ends.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import process from "node:process";
import { describe, it } from "node:test";
import { MemoryStreamStorage } from "../../mod.ts";
import { historyOf } from "../../scripts/demo/history.ts";
import { play } from "../../scripts/demo/player.ts";
import type { DemoReport } from "../../scripts/demo/report.ts";
import type { StreamHistory } from "../../scripts/demo/stream_author.ts";
import {
  VerificationError,
  verifyStream,
  verifyStreams,
} from "../../scripts/demo/verifier.ts";
import { queryOnce, testDatabaseUrl, uniqueName } from "../support/database.ts";
import { loginOf } from "../support/login/login.ts";
import { openTestStorage } from "../support/storage.ts";
import { untilSeen } from "../support/until.ts";
import { root } from "../support/root.ts";

describe("The demo", () => {
  describe("has a history that", historyTests);
  describe("has a verifier that", verifierTests);
  describe("is a program that", programTests);
});

function historyTests(): void {
  it("is the same only for the same seed", () => {
    const [first, again, other] = ["1", "1", "2"].map((seed) =>
      historyOf(seed).map(({ expected }) => expected)
    );
    assert.deepEqual(first, again);
    assert.notDeepEqual(first, other);
  });

  it("contains streams of every type and everything that can be stored", () => {
    const histories = historyOf("1");
    const types = histories.map(({ expected }) =>
      expected.streamId.slice(0, 2)
    );
    const prefixes = "10 20 88 77 ff dd a8 a5 a1 ad".split(" ");
    assert.deepEqual(new Set(types), new Set(prefixes));
    const all = histories.map(({ expected }) => expected);
    assert.deepEqual(
      new Set(all.map(({ state }) => state)),
      new Set(["regular", "ephemeral", "archive", "deleted"]),
    );
    assert.ok(all.some(({ minipool }) => minipool.length > 0));
    assert.ok(all.some(({ candidates }) => candidates.length > 0));
    assert.ok(all.some(({ blocks }) => blocks[0]!.number > 0n));
    const largest = Math.max(
      ...all.flatMap(({ blocks }) => blocks.map(({ data }) => data.length)),
    );
    assert.ok(largest > 490_000 && largest < 510_000, `${largest} bytes`);
  });
}

function verifierTests(): void {
  it("notices one wrong byte, wherever it is stored", async () => {
    await using test = await openTestStorage();
    const { storage, schema, url } = test;
    const history = historyWithEverything();
    const { expected } = history;
    await play(storage, [history]);
    const intact = await verifyStream(storage, expected);
    const { partitionSuffix } = await storage.debugReadStreamStatistics(
      expected.streamId,
    );
    const places: [table: string, column: string, row: string, name: RegExp][] =
      [
        ["miniblocks", "blockdata", "seq_num = 1", /block 1 /],
        ["miniblocks", "snapshot", "seq_num = 0", /snapshot of block 0 /],
        ["minipools", "envelope", "slot_num = 0", /minipool event 0 /],
        ["miniblock_candidates", "blockdata", "true", /a candidate for block/],
      ];
    for (const [table, column, row, name] of places) {
      const flip = () =>
        queryOnce(
          url,
          `UPDATE "${schema}".${table}_${partitionSuffix} SET ${column} =
            set_byte(${column}, 11, get_byte(${column}, 11) # 128)
            WHERE ${row} AND stream_id = '${expected.streamId}'`,
        );
      await flip();
      await assert.rejects(verifyStream(storage, expected), (error) => {
        assert.ok(error instanceof VerificationError);
        assert.match(error.message, name);
        assert.match(error.message, /differs at byte 11 of \d+/);
        return true;
      });
      await flip();
      assert.deepEqual(await verifyStream(storage, expected), intact);
    }
  });

  it("notices an event, a block or a stream that is missing or too much", async () => {
    const history = historyWithEverything();
    const { streamId } = history.expected;
    const wrongs: ((storage: MemoryStreamStorage) => Promise<unknown>)[] = [
      async (storage) => {
        const { minipool, blocks } = history.expected;
        const generation = blocks.at(-1)!.number + 1n;
        const event = minipool[0]!;
        await storage.writeEvent(streamId, generation, minipool.length, event);
      },
      (storage) => storage.debugDeleteMiniblocks(streamId, 0n, 1n),
      (storage) => storage.deleteStream(streamId),
      async (storage) => {
        const other = historyOf("2").find(({ steps }) => steps.length > 1)!;
        await other.steps[0]!.run(storage);
      },
    ];
    for (const wrong of wrongs) {
      await using storage = new MemoryStreamStorage();
      await play(storage, [history]);
      await verifyStreams(storage, [history.expected]);
      await wrong(storage);
      await assert.rejects(
        verifyStreams(storage, [history.expected]),
        VerificationError,
      );
    }
  });
}

function programTests(): void {
  it("verifies every byte of the whole history", async () => {
    const url = await testDatabaseUrl();
    const schema = newSchema();
    const run = await runDemo(on(url, schema, "--json"));
    assert.deepEqual([run.code, run.stderr], [0, ""]);
    const report: DemoReport = JSON.parse(run.stdout);
    const expected = historyOf("1").map((history) => history.expected)
      .filter(({ state }) => state !== "deleted");
    const blocks = expected.flatMap((stream) => stream.blocks);
    const events = expected.flatMap(({ minipool }) => minipool);
    const candidates = expected.flatMap((stream) => stream.candidates);
    const parts = [
      ...events,
      ...[...blocks, ...candidates].flatMap(({ data, snapshot }) =>
        snapshot === undefined ? [data] : [data, snapshot]
      ),
    ];
    const { bytesRead, ...verified } = report.verified;
    assert.deepEqual(verified, {
      streams: expected.length,
      blocks: blocks.length,
      snapshots: blocks.filter(({ snapshot }) => snapshot).length,
      minipoolEvents: events.length,
      candidates: candidates.length,
      bytes: parts.reduce((sum, { length }) => sum + length, 0),
    });
    assert.ok(bytesRead > 3 * verified.bytes, `Only ${bytesRead} bytes read`);
    assert.equal(report.streams.length, expected.length);
    assert.equal(report.types.length, 10);
    assert.equal(await exists(url, schema), false);
  });

  it("fails if a stored byte differs, and cleans up", async () => {
    const url = await testDatabaseUrl();
    const schema = newSchema();
    const run = await runDemo(on(url, schema, "--corrupt", "--json"));
    assert.deepEqual([run.code, run.stdout], [1, ""]);
    assert.match(run.stderr, /^Verification failed: .* differs at byte 7 of/);
    assert.equal(await exists(url, schema), false);
  });

  it("cleans up if it is interrupted", async () => {
    const url = await testDatabaseUrl();
    const schema = newSchema();
    const run = runDemo(on(url, schema));
    await untilSeen(async () => {
      assert.equal(run.child.exitCode, null, "Expected the demo to run");
      return await exists(url, schema);
    });
    run.child.kill("SIGINT");
    assert.deepEqual(await run, {
      code: 130,
      stdout: "",
      stderr: "Stopped by SIGINT\n",
    });
    assert.equal(await exists(url, schema), false);
  });

  it("refuses and keeps a schema that was there before", async () => {
    await using test = await openTestStorage();
    const { url, schema } = test;
    const run = await runDemo(on(url, schema, "--json"));
    assert.deepEqual([run.code, run.stdout], [1, ""]);
    assert.match(run.stderr, /needs a schema that does not exist yet/);
    assert.equal(await exists(url, schema), true);
  });

  it("says what is wrong with its arguments", async () => {
    const run = await runDemo({ args: ["--keep"] });
    assert.deepEqual([run.code, run.stdout], [2, ""]);
    assert.match(run.stderr, /^Expected --url with --keep.*\n\nUsage: /);
  });
}

/** A stream with snapshots, events in the minipool and a candidate. */
function historyWithEverything(): StreamHistory {
  const history = historyOf("1").find(({ expected, note }) =>
    note === undefined && expected.minipool.length > 0 &&
    expected.candidates.length > 0
  );
  assert.ok(history);
  return history;
}

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the demo with the runtime of these tests. */
function runDemo(
  { args, env }: Command,
): Promise<Ended> & { child: ChildProcess } {
  const child = spawn(process.execPath, [
    "run",
    ...("Deno" in globalThis ? ["-A"] : []),
    "scripts/demo.ts",
    ...args,
  ], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  child.stdout?.setEncoding("utf8").on("data", (text) => output.stdout += text);
  child.stderr?.setEncoding("utf8").on("data", (text) => output.stderr += text);
  const ended = once(child, "close").then(([code, signal]) => ({
    // Deno reports a signal instead of 130 if it sent that signal itself.
    code: code ?? 128 + constants.signals[signal as NodeJS.Signals],
    ...output,
  }));
  return Object.assign(ended, { child });
}

/** The arguments and the environment of a run. */
interface Command {
  args: string[];
  env?: Record<string, string>;
}

function on(address: string, schema: string, ...more: string[]): Command {
  const { url, env } = loginOf(address);
  const args = ["--url", url, "--schema", schema, "--partitions", "2"];
  return { args: [...args, ...more], env };
}

function newSchema(): string {
  return uniqueName("demo_test");
}

async function exists(url: string, schema: string): Promise<boolean> {
  const rows = await queryOnce(
    url,
    `SELECT FROM pg_namespace WHERE nspname = '${schema}'`,
  );
  return rows.length > 0;
}
