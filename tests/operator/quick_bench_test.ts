/** `bench --quick`: it measures, and leaves nothing behind however it ends. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { limitOf } from "../../src/operator/bench/quick_bench.ts";
import { quickBench } from "../../src/operator/mod.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { runCommand } from "../support/programs/command.ts";
import {
  createTestDatabase,
  queryOnce,
  type TestDatabase,
  uniqueName,
} from "../support/database.ts";

let database: TestDatabase;
let url: string;

before(async () => {
  database = await createTestDatabase();
  ({ url } = database);
});
after(async () => await database?.[Symbol.asyncDispose]());

async function schemas(): Promise<string[]> {
  const rows = await queryOnce(
    url,
    `SELECT nspname FROM pg_namespace
     WHERE nspname !~ '^(pg_|information_schema|public)'`,
  );
  return rows.map(({ nspname }) => String(nspname));
}

describe("quickBench", () => {
  it("measures calls by one caller and by many", async () => {
    const seen: string[] = [];
    const { lines, serverVersion } = await quickBench({
      url,
      seconds: 1,
      onProgress: (operation, done, all) =>
        seen.push(`${operation} ${done}/${all}`),
    });
    assert.deepEqual(
      lines.map(({ operation, callers }) => `${operation} ${callers}`),
      [
        "round trip 1",
        "commit of one row 1",
        ...[1, 32].flatMap((callers) =>
          [
            "createStreamStorage",
            "writeEvent",
            "writeMiniblocks",
            "readStreamFromLastSnapshot",
          ].map((name) => `${name} ${callers}`)
        ),
      ],
    );
    for (const { calls, callers, perSecond, p50Ms, p99Ms } of lines) {
      assert.ok(calls >= callers && perSecond > 0);
      assert.ok(p50Ms > 0 && p99Ms >= p50Ms);
    }
    assert.equal(seen.at(-1), "readStreamFromLastSnapshot 9/10");
    assert.match(serverVersion, /^\d+/);
    assert.deepEqual(await schemas(), []);
  });

  it("removes its schema when it is aborted", async () => {
    const controller = new AbortController();
    await assert.rejects(
      quickBench({
        url,
        seconds: 3600,
        signal: controller.signal,
        onProgress: () => {
          // Aborts during the first calls.
          setTimeout(() => controller.abort(), 100);
        },
      }),
      (error) => isStreamStorageError(error, "CANCELED"),
    );
    assert.deepEqual(await schemas(), []);
  });

  it("makes no schema if the role may not", async () => {
    const role = uniqueName("nobody");
    await queryOnce(url, `CREATE ROLE ${role} LOGIN PASSWORD 'of-a-test'`);
    const its = new URL(url);
    its.username = role;
    its.password = "of-a-test";
    try {
      await assert.rejects(
        quickBench({ url: its.href, seconds: 1 }),
        (error) => isStreamStorageError(error, "BAD_CONFIG"),
      );
    } finally {
      await queryOnce(url, `DROP ROLE ${role}`);
    }
    await assert.rejects(
      quickBench({ url, seconds: 0 }),
      (error) => isStreamStorageError(error, "INVALID_ARGUMENT"),
    );
    assert.deepEqual(await schemas(), []);
  });

  it("says what limits a single writer", () => {
    const line = (operation: string, p50Ms: number) => ({
      operation,
      callers: 1,
      calls: 1,
      perSecond: 1,
      p50Ms,
      p99Ms: p50Ms,
    });
    const limit = (trip: number, commit: number, write: number) =>
      limitOf([
        line("round trip", trip),
        line("commit of one row", commit),
        line("writeEvent", write),
      ]).limit;
    assert.equal(limit(0.1, 5, 5.2), "commit");
    assert.equal(limit(20, 21, 21), "network");
    assert.equal(limit(0.1, 0.2, 3), "processor");
  });
});

describe("bench as a command", () => {
  it("prints a table", async () => {
    const { code, stdout, stderr } = await runCommand(
      ["bench", "--quick", "--seconds", "1"],
      { url },
    ).ended;
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^PostgreSQL \d+/);
    assert.match(stdout, /^writeEvent +32 +[\d ]+ +\d+\.\d\d +\d+\.\d\d$/m);
    assert.match(stdout, /^A commit takes/m);
    assert.deepEqual(await schemas(), []);
  });

  it("removes its schema on Ctrl-C", async () => {
    const { child, ended } = runCommand(
      ["bench", "--quick", "--seconds", "3600"],
      { url },
    );
    while ((await schemas()).length === 0);
    child.kill("SIGINT");
    const { code, stderr } = await ended;
    assert.equal(code, 130, stderr);
    assert.deepEqual(await schemas(), []);
  });

  it("requires --quick", async () => {
    const { code, stderr } = await runCommand(["bench"], { url }).ended;
    assert.equal(code, 2);
    assert.match(stderr, /^Expected --quick/);
  });
});
