/**
 * `verify` and `repair` as processes: damage is found, planned, mended, taken back
 * and found again; and how they end.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { commands } from "../src/cli/commands.ts";
import { displayWidth } from "../src/cli/screen.ts";
import { type Finding, planRepairs } from "../src/operator/mod.ts";
import { runCli, startCli } from "./support/cli.ts";
import { type FilledSchema, fillSchema } from "./support/every_kind.ts";
import { openTestStorage } from "./support/storage.ts";

let filled: FilledSchema;
let env: Record<string, string>;
let directory: string;

before(async () => {
  filled = await fillSchema();
  env = { STREAM_STORAGE_URL: filled.url };
  directory = await mkdtemp(join(tmpdir(), "stream-storage-cli-verify-"));
});
after(async () => {
  await filled?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

const file = (name: string) => join(directory, name);

const run = (...args: string[]) =>
  runCli([...args, "--schema", filled.schema], env);

const linesOf = (text: string) => text.trimEnd().split("\n");

/** What `--json` has printed: findings or repairs, and the summary. */
function parsed(stdout: string) {
  const lines = linesOf(stdout).map((line) => JSON.parse(line));
  return { lines: lines.slice(0, -1), summary: lines.at(-1).summary };
}

function assertNarrow(text: string): void {
  for (const line of text.split("\n")) {
    assert.ok(displayWidth(line) <= 80, line);
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(line, /\x1b|\r/, "plain where it is no terminal");
  }
}

/** A pointer, a candidate and a gap: mended, mended, and not. */
const damage = `
  UPDATE @.es SET latest_snapshot_miniblock = 99 WHERE stream_id = 'regular';
  UPDATE @.miniblock_candidates_{regular} SET seq_num = 5
    WHERE stream_id = 'regular' AND seq_num = 6;
  DELETE FROM @.miniblocks_{trimmed} WHERE stream_id = 'trimmed' AND seq_num = 8;
  DELETE FROM @.minipools_{trimmed}
    WHERE stream_id = 'trimmed' AND slot_num >= 0`;

describe("verify", () => {
  it("ends with 0 where all is well, at each level", async () => {
    const [quick, plain, deep, json] = await Promise.all([
      run("verify", "--quick"),
      run("verify"),
      run("verify", "--deep"),
      run("verify", "--json"),
    ]);
    for (const { code, stdout, stderr } of [quick!, plain!, deep!, json!]) {
      assert.deepEqual([code, stderr], [0, ""], stdout);
    }
    for (const { stdout } of [quick!, plain!, deep!]) {
      assertNarrow(stdout);
      assert.match(stdout, /^0 errors, 0 warnings, \d+ notes?$/m);
    }
    const { lines, summary } = parsed(json!.stdout);
    for (const line of lines) {
      assert.deepEqual(
        Object.keys(line),
        ["severity", "finding", "streamId", "what", "details"],
      );
      assert.equal(line.severity, "note");
    }
    const { seconds, ...counts } = summary;
    assert.equal(typeof seconds, "number");
    assert.deepEqual(counts, {
      streams: 13,
      blocks: counts.blocks,
      events: counts.events,
      errors: 0,
      warnings: 0,
      notes: lines.length,
    });
    assert.ok(counts.blocks > 40 && counts.events > 5);
  });

  it("looks at what it is told to", async () => {
    await filled.sql(damage);
    try {
      const { regular, trimmed } = filled.copies[0]!;
      const known = file("known");
      const all = await run("verify", "--json");
      await writeFile(known, all.stdout);
      const [one, media, acknowledged] = await Promise.all([
        run("verify", "--stream", trimmed, "--json"),
        run("verify", "--type", "media", "--json"),
        run("verify", "--acknowledged", known, "--json"),
      ]);
      const idsOf = ({ stdout }: { stdout: string }) =>
        new Set(parsed(stdout).lines.map(({ streamId }) => streamId));
      assert.deepEqual(idsOf(one!), new Set([trimmed]));
      assert.deepEqual([one!.code, media!.code], [1, 0]);
      assert.ok(!idsOf(media!).has(regular));
      const { lines, summary } = parsed(acknowledged!.stdout);
      assert.deepEqual([acknowledged!.code, lines], [0, []]);
      assert.equal(summary.acknowledged, parsed(all.stdout).lines.length);
    } finally {
      await filled.restore();
    }
  });

  it("goes on where Ctrl-C has stopped it", async () => {
    await filled.sql(damage);
    const state = file("state");
    try {
      // A byte a second: what is found is told, and then it waits for days.
      const args = ["verify", "--schema", filled.schema, "--resume", state];
      const slow = startCli([...args, "--json", "--rate", "0.000001"], env);
      await slow.printed(/snapshot_pointer|minipool_generation/);
      slow.interrupt();
      const stopped = await slow.ended;
      assert.equal(stopped.code, 130, stopped.stderr);
      assert.match(stopped.stderr, /^To go on: --resume .*state$/m);
      assert.equal((await stat(state)).mode & 0o077, 0);

      const other = await run("verify", "--deep", "--resume", state, "--json");
      assert.deepEqual([other.code, other.stdout], [2, ""]);
      assert.match(other.stderr, /same options/);
      const rest = await runCli([...args, "--json"], env);
      assert.equal(rest.code, 1, rest.stderr);
      assert.ok(!existsSync(state), "there is nothing to go on with");
      const whole = await run("verify", "--json");
      const told = new Set([
        ...linesOf(stopped.stdout),
        ...linesOf(rest.stdout).slice(0, -1),
      ]);
      assert.deepEqual(
        [...told].sort(),
        linesOf(whole.stdout).slice(0, -1).sort(),
      );
      const { seconds: _, ...counts } = parsed(rest.stdout).summary;
      const { seconds: _whole, ...expected } = parsed(whole.stdout).summary;
      assert.deepEqual(counts, expected);
    } finally {
      await filled.restore();
    }
  });

  it("keeps for people what it has found when it is stopped", async () => {
    await filled.sql(damage);
    const state = file("state of people");
    try {
      const args = ["verify", "--schema", filled.schema, "--resume", state];
      const slow = startCli([...args, "--rate", "0.000001"], env);
      await slow.printed(/Verifying/);
      slow.interrupt();
      const stopped = await slow.ended;
      assert.equal(stopped.code, 130, stopped.stderr);
      assert.match(stopped.stdout, /^So far:\n(.*\n)*error /);
      const rest = await runCli(args, env);
      const whole = await run("verify");
      assert.equal(rest.code, 1, rest.stderr);
      const withoutTime = ({ stdout }: { stdout: string }) =>
        stdout.replace(/ in .*\n$/, "");
      assert.equal(withoutTime(rest), withoutTime(whole));
    } finally {
      await filled.restore();
    }
  });
});

describe("repair", () => {
  it("plans, changes, and takes back what verify finds", async () => {
    const { regular, trimmed } = filled.copies[0]!;
    await filled.sql(damage);
    const undo = file("first.undo");
    try {
      const found = await run("verify");
      assert.equal(found.code, 1, found.stderr);
      assertNarrow(found.stdout);
      assert.match(found.stdout, RegExp(`snapshot_pointer\\n  ${regular}\\n`));
      assert.match(found.stdout, /^warning stale_candidates\n/m);
      assert.match(found.stdout, /^[1-9]\d* errors?, 1 warning, /m);

      const planned = await run("repair");
      assert.equal(planned.code, 1, planned.stderr);
      assertNarrow(planned.stdout.replace(/copy [0-9a-f]{64}/, ""));
      assert.match(
        planned.stdout,
        /^2 changes, see --apply; [1-9]\d* by hand$/m,
      );
      assert.match(
        planned.stdout.replace(/\s+/g, " "),
        RegExp(`copy ${trimmed} --from-file REPLICA --replace`),
      );
      assert.equal((await run("verify")).stdout.length, found.stdout.length);

      const applied = await run("repair", "--apply", "--undo", undo, "--json");
      assert.equal(applied.code, 1, applied.stderr);
      const { lines, summary } = parsed(applied.stdout);
      const { by_hand, ...counts } = summary;
      assert.deepEqual(counts, { done: 2, undoFile: undo });
      assert.equal(by_hand, lines.length - 2);
      const left = parsed((await run("verify", "--json")).stdout);
      assert.equal(left.summary.errors + left.summary.warnings, by_hand);
      assert.ok(
        left.lines.every((one: Finding) =>
          one.severity === "note" || one.streamId === trimmed
        ),
      );

      const undone = await run("repair", "undo", undo);
      assert.deepEqual([undone.code, undone.stderr], [0, ""]);
      assert.match(undone.stdout, /^2 changes taken back, 0 were as before/);
      const again = await run("verify");
      const kinds = ({ stdout }: { stdout: string }) =>
        linesOf(stdout).slice(0, -1);
      assert.deepEqual(kinds(again), kinds(found));
    } finally {
      await filled.restore();
    }
  });

  it("mends what is in a file, and never overwrites one", async () => {
    const { regular } = filled.copies[0]!;
    await filled.sql(damage);
    const findings = file("findings");
    const undo = file("second.undo");
    try {
      await writeFile(findings, (await run("verify", "--json")).stdout);
      const given = ["--findings", findings, "--stream", regular, "--apply"];
      await writeFile(undo, "mine");
      const refused = await run("repair", ...given, "--undo", undo);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /found EEXIST \(BAD_CONFIG, undo_file\)\n$/);
      assert.equal(readFileSync(undo, "utf8"), "mine");
      await rm(undo);
      const applied = await run("repair", ...given, "--undo", undo);
      assert.equal(applied.code, 0, applied.stderr);
      assert.match(applied.stdout, /^2 changes; 0 by hand$/m);
      const again = file("third.undo");
      const after = await run("repair", ...given, "--undo", again);
      assert.equal(after.code, 1, after.stderr);
      assert.match(after.stdout, /^(Right already|Not as it was found)/m);
    } finally {
      await filled.restore();
    }
  });

  it("leaves a store alone that somebody owns, and names the owner", async () => {
    await using test = await openTestStorage({
      partitions: 2,
      instanceId: "the one that is here",
    });
    const { url, schema, storage } = test;
    const owned = { STREAM_STORAGE_URL: url };
    const findings = file("of an owned store");
    await writeFile(
      findings,
      JSON.stringify({
        severity: "error",
        finding: "orphan_blocks",
        streamId: filled.copies[0]!.nobody,
        what: "",
        details: { table: "miniblocks_r00", rows: 1 },
      }),
    );
    const args = ["--schema", schema, "--undo", file("owned.undo")];
    const given = ["--findings", findings, "--apply"];
    const refused = await runCli(["repair", ...args, ...given], owned);
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, /the one that is here.*schema_owned/);
    assert.ok(!existsSync(file("owned.undo")));
    assert.ok(!storage.signal.aborted);
    const taken = await runCli(
      ["repair", ...args, ...given, "--take-over"],
      owned,
    );
    assert.equal(taken.code, 0, taken.stderr);
    assert.match(taken.stdout, /Right already/);
  });

  it("has nothing to do where all is well, and makes no file", async () => {
    const before = await readdir(".");
    const { code, stdout, stderr } = await run("repair", "--apply");
    assert.deepEqual([code, stdout, stderr], [0, "Nothing to be done\n", ""]);
    assert.deepEqual(await readdir("."), before);
  });
});
