/**
 * The commands export, import, copy and diff: outputs, exit codes, resumed
 * runs.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  bytes,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import {
  type EmptyStore,
  emptyStore,
  temporaryDirectory,
} from "../support/transfer/transfer.ts";

describe("The commands that move streams", () => {
  const stack = new AsyncDisposableStack();
  const ids: StreamId[] = [
    newStreamId("space"),
    newStreamId("channel"),
    newStreamId("channel"),
  ].sort();
  let source: EmptyStore;
  let target: EmptyStore;
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;

  before(async () => {
    directory = stack.use(await temporaryDirectory());
    source = stack.use(await emptyStore());
    target = stack.use(await emptyStore({ partitions: 3 }));
    await source.with(async (storage) => {
      for (const id of ids) {
        await storage.createStreamStorage(id, snapshotBlock(0));
        await storage.writeEvent(id, 1n, 0, bytes("event"));
      }
    });
  });
  after(() => stack.disposeAsync());

  /** Runs the published program, with the address in the environment. */
  function command(...args: string[]) {
    const main = fileURLToPath(
      new URL("../../src/cli/main.ts", import.meta.url),
    );
    const deno = "Deno" in globalThis ? ["-A", "--no-check"] : [];
    const env = {
      ...process.env,
      STREAM_STORAGE_URL: source.url,
      NO_COLOR: "1",
    };
    const { promise, resolve } = Promise.withResolvers<
      { code: number | null; out: string; err: string }
    >();
    const child = execFile(
      process.execPath,
      ["run", ...deno, main, ...args],
      { env },
      (_, out, err) => resolve({ code: child.exitCode, out, err }),
    );
    return promise;
  }

  const both = () => [
    ...["--from-schema", source.schema, "--to-schema", target.schema],
  ];

  it("export and import streams, after which nothing differs", async () => {
    const file = directory.file("streams.gz");
    const made = await command("export", "--schema", source.schema, file);
    assert.deepEqual([made.code, made.err], [0, ""]);
    assert.match(made.out, /^3 streams in the file, 3 blocks, \d+ B, /);
    const [checked, again, other] = await Promise.all([
      command("import", "--check", file),
      command("export", "--schema", source.schema, file),
      command("import", "--check", file, "--schema"),
    ]);
    assert.equal(checked.code, 0);
    assert.match(
      checked.out,
      /^Complete: 3 streams, 3 blocks, .* PostgreSQL \d/,
    );
    assert.equal(again.code, 2);
    assert.match(again.err, /^The export's file can't be used.*EEXIST/);
    assert.equal(other.code, 2);
    // The file of a run that was stopped after the first stream.
    const state = directory.file("state");
    const work = `import ${target.schema}`;
    await writeFile(state, JSON.stringify({ work, after: ids[0] }));
    const wanted = ["import", "--schema", target.schema, file];
    const taken = await command(...wanted, "--resume", state);
    assert.deepEqual([taken.code, taken.err], [0, ""]);
    assert.match(taken.out, /^2 of 2 streams written, 2 blocks/);
    await assert.rejects(readFile(state));
    const refused = await command(...wanted, "--json");
    assert.equal(refused.code, 1);
    const lines = refused.out.trim().split("\n").map((line) =>
      JSON.parse(line)
    );
    assert.deepEqual(
      lines.slice(0, 2).map(({ problem }) => problem),
      ["exists", "exists"],
    );
    assert.equal(lines[2].summary.written, 1);
    const same = await command("diff", ...both());
    assert.equal(same.code, 0);
    assert.match(same.out, /^3 streams: 3 equal, 0 different/);
  });

  it("copy streams, and show what differs", async () => {
    await source.with(async (storage) => {
      const next = { generation: 2n, envelopes: [] };
      const previous = { generation: 1n };
      await storage.writeMiniblocks(ids[0]!, [block(1)], next, previous);
    });
    const [differs, bad] = await Promise.all([
      command("diff", ...both()),
      command("copy", ...both(), "--replace", "--new"),
    ]);
    assert.equal(differs.code, 1);
    assert.equal(
      differs.out.split("\n").slice(0, 2).join("\n"),
      `${ids[0]}\n  behind: Lacks 1 blocks or snapshots from 1 on`,
    );
    assert.deepEqual(
      [bad.code, bad.err],
      [2, "Expected --replace or --new, received both\n"],
    );
    const copied = await command("copy", ...both(), "--follow");
    assert.equal(copied.code, 0);
    assert.match(copied.out, /^0 of 3 streams copied, 3 equal/);
    assert.match(copied.err, /^1 of 3 streams copied, 2 equal, 1 block/);
  });
});
