/**
 * `verify` and `repair` as processes: damage is found, repaired, and found
 * again after the repair is undone. Also their exit codes.
 */
import { Command } from "@commander-js/extra-typings";
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { commands } from "../../src/cli/commands.ts";
import { displayWidth } from "../../src/cli/screen.ts";
import { type Finding, planRepairs, verify } from "../../src/operator/mod.ts";
import { cliCommand, runCli, startCli } from "../support/cli/run.ts";
import { type FilledSchema, fillSchema } from "../support/every_kind.ts";
import { openTestStorage } from "../support/storage.ts";
import { hasTmux, Tmux } from "../support/cli/tmux.ts";
import { until } from "../support/until.ts";

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

const at = () => ["--schema", filled.schema];

const run = (...args: string[]) => runCli([...args, ...at()], env);

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

const linesOf = (text: string) => text.trimEnd().split("\n");

/** The output of `--json`: findings or repairs, and the summary. */
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

/**
 * A latest snapshot and a candidate, which are repaired, and a gap, which is
 * not.
 */
const damage = `
  UPDATE @.es SET latest_snapshot_miniblock = 99 WHERE stream_id = 'regular';
  UPDATE @.miniblock_candidates_{regular} SET seq_num = 5
    WHERE stream_id = 'regular' AND seq_num = 6;
  DELETE FROM @.miniblocks_{trimmed}
    WHERE stream_id = 'trimmed' AND seq_num = 8;
  DELETE FROM @.minipools_{trimmed}
    WHERE stream_id = 'trimmed' AND slot_num >= 0`;

/** The library's findings, as they are printed. */
async function findNow(): Promise<string[]> {
  const { url, schema } = filled;
  const findings = await Array.fromAsync(verify({ url, schema }));
  return findings.map((finding) => JSON.stringify(finding)).sort();
}

const terminal = hasTmux ? it : it.skip;

const withoutTime = (text: string) => text.replace(/ in [^\n]*\n$/, "");

const isNews = ({ severity }: Finding) => severity !== "note";

it("verify ends with 0 at each level if all is well", async () => {
  const [quick, deep, json, repair] = await Promise.all([
    run("verify", "--quick"),
    run("verify", "--deep"),
    run("verify", "--json"),
    run("repair", "--apply"),
  ]);
  for (const { code, stdout, stderr } of [quick!, deep!, json!, repair!]) {
    assert.deepEqual([code, stderr], [0, ""], stdout);
  }
  for (const { stdout } of [quick!, deep!]) {
    assertNarrow(stdout);
    assert.match(stdout, /^0 errors, 0 warnings, \d+ notes?$/m);
  }
  assert.equal(repair!.stdout, "Nothing to do\n");
  const { lines, summary } = parsed(json!.stdout);
  for (const line of lines) {
    assert.deepEqual(
      Object.keys(line),
      ["severity", "finding", "streamId", "what", "details"],
    );
    assert.equal(line.severity, "note");
  }
  const { seconds, blocks, events, ...counts } = summary;
  const notes = lines.length;
  assert.deepEqual(counts, { streams: 13, errors: 0, warnings: 0, notes });
  assert.ok(blocks > 40 && events > 5 && seconds > 0);
});

it("plans name only existing commands and options", async () => {
  const streamId = filled.copies[0]!.regular;
  const kinds: Finding["finding"][] = [
    "no_blocks",
    "minipool_unexpected",
    "location",
    "schema_drift",
  ];
  const plans = planRepairs(kinds.map((finding): Finding => ({
    severity: "error",
    finding,
    streamId,
    what: "",
    details: {},
  })));
  const lines = plans.flatMap(({ what }) =>
    [...what.matchAll(/`([^`]+)`/g)].map(([, line]) => line!)
  );
  assert.ok(lines.length >= kinds.length, lines.join("\n"));
  for (const line of lines) {
    const [name, ...words] = line.split(" ");
    const listed = commands.find((command) => command.name === name);
    let command = new Command(name);
    (await listed!.load()).define(command);
    for (const word of words) {
      const inner = command.commands.find((inner) => inner.name() === word);
      if (inner !== undefined) command = inner as Command;
      const isOption = word.startsWith("--");
      const isKnown = command.options.some(({ long }) => long === word);
      assert.equal(isKnown, isOption, `${word} in ${line}`);
    }
  }
});

it("bad input is reported in one line, with the exit code of its kind", async () => {
  const bad = file("bad findings");
  await writeFile(bad, "{}\nnone\n");
  const away = { STREAM_STORAGE_URL: "postgresql://towns@127.0.0.1:9/towns" };
  const refused = [
    [2, /--quick or --deep/, run("verify", "--quick", "--deep")],
    [2, /--deep with --since/, run("verify", "--since", "3")],
    [2, /line 1 /, run("verify", "--acknowledged", bad)],
    [2, /ENOENT/, run("verify", "--resume", file("none/state"))],
    [2, /ENOENT.*undo_file/, run("repair", "undo", file("none"))],
    [3, /connection_failed/, runCli(["verify", "--schema", "any"], away)],
  ] as const;
  for (const [code, pattern, ending] of refused) {
    const ended = await ending;
    assert.equal(ended.code, code, ended.stderr);
    assert.equal(ended.stdout, "");
    assert.match(ended.stderr, /^[^\n]+\n$/);
    assert.match(ended.stderr, pattern);
  }
});

describe("Damage", () => {
  before(() => filled.sql(damage));
  after(() => filled.restore());

  it("is reported and planned, for all streams or chosen ones", async () => {
    const { regular, trimmed } = filled.copies[0]!;
    const known = file("known");
    const found = await findNow();
    await writeFile(known, found.join("\n"));
    const [plain, plan, some, acknowledged] = await Promise.all([
      run("verify"),
      run("repair"),
      run("verify", "--stream", trimmed, "--stream", regular, "--json"),
      run("verify", "--acknowledged", known, "--json"),
    ]);
    for (const { code, stderr } of [plain!, plan!, some!]) {
      assert.equal(code, 1, stderr);
    }
    assertNarrow(plain!.stdout);
    assert.match(
      plain!.stdout,
      RegExp(`^error snapshot_pointer\n  ${regular}\n    The latest `, "m"),
    );
    assert.match(plain!.stdout, /^warning stale_candidates\n/m);
    assert.match(plain!.stdout, /^[1-9]\d* errors?, 1 warning, /m);
    assertNarrow(plan!.stdout);
    assert.match(plan!.stdout, /^2 changes, see --apply; [1-9]\d* by hand$/m);
    assert.deepEqual(
      parsed(some!.stdout).lines.map((line) => JSON.stringify(line)).sort(),
      found.filter((line) => line.includes(regular) || line.includes(trimmed)),
    );
    const { lines, summary } = parsed(acknowledged!.stdout);
    assert.deepEqual([acknowledged!.code, lines], [0, []]);
    assert.equal(summary.acknowledged, found.length);
  });

  it("is reported completely by a run that continues after Ctrl-C", async () => {
    const [json, plain] = [file("json.state"), file("plain.state")];
    // At half a kilobyte a second, this takes long.
    const reporting = startCli(
      ["verify", "--json", "--rate", "0.0005", "--resume", json, ...at()],
      env,
    );
    const kept = startCli(
      ["verify", "--rate", "0.0005", "--resume", plain, ...at()],
      env,
    );
    await reporting.printed(/snapshot_pointer|minipool_generation/);
    await until(() => existsSync(json));
    reporting.interrupt();
    await until(() => /"found":\[\{/.test(readIfThere(plain)));
    kept.interrupt();
    const stopped = await Promise.all([reporting.ended, kept.ended]);
    for (const { code, stderr } of stopped) {
      assert.equal(code, 130, stderr);
      assert.match(stderr, /^To continue: --resume .*\.state$/m);
    }
    assert.match(stopped[1]!.stdout, /^So far:\n(.*\n)*error /);
    assert.equal((await stat(json)).mode & 0o077, 0);

    const other = await run("verify", "--quick", "--json", "--resume", json);
    assert.deepEqual([other.code, other.stdout], [2, ""]);
    assert.match(other.stderr, /same command's earlier run/);
    const [restJson, restPlain, whole] = await Promise.all([
      run("verify", "--json", "--resume", json),
      run("verify", "--resume", plain),
      run("verify"),
    ]);
    assert.ok(!existsSync(json) && !existsSync(plain), "nothing is left to do");
    const found = await findNow();
    const { lines, summary } = parsed(restJson!.stdout);
    const all = new Set(linesOf(stopped[0]!.stdout));
    for (const line of lines) all.add(JSON.stringify(line));
    assert.deepEqual([...all].sort(), found);
    const { errors, warnings, notes } = summary;
    assert.equal(errors + warnings + notes, found.length);
    assert.equal(withoutTime(restPlain!.stdout), withoutTime(whole!.stdout));
  });

  terminal("is shown in terminals of 80 and 120 columns", async () => {
    await Promise.all([80, 120].map(async (columns) => {
      await using tmux = await Tmux.start({ columns, rows: 40 }, env);
      const program = cliCommand.map((word) => `'${word}'`).join(" ");
      const args = ["verify", "--rate", "0.0005", ...at()].join(" ");
      await tmux.type(`clear; ${program} ${args}; echo "ended ""with $?"`);
      await tmux.press("Enter");
      // A wide line has room for the findings after time and rate.
      await tmux.shows(
        columns === 80
          ? /^Verifying [█░]{24} +\d+ %, .* left, [0-9.]+\/s/m
          : /^Verifying [█░]{24} +\d+ %, .* left, [0-9.]+\/s, \d+ error/m,
      );
      await tmux.press("C-c");
      const screen = await tmux.shows(/^ended with 130$/m);
      assert.match(screen, /^error snapshot_pointer$/m);
      assert.doesNotMatch(screen, /█/, "the bar is gone");
    }));
  });

  it("is repaired, and the repair is undone", async () => {
    const { trimmed } = filled.copies[0]!;
    const undo = file("all.undo");
    const found = await findNow();
    const applied = await run("repair", "--apply", "--undo", undo, "--json");
    assert.equal(applied.code, 1, applied.stderr);
    const { lines, summary } = parsed(applied.stdout);
    assert.deepEqual(summary, {
      done: 2,
      by_hand: lines.length - 2,
      undoFile: undo,
    });
    const left = (await findNow()).map((line) => JSON.parse(line));
    assert.deepEqual(
      new Set(left.filter(isNews).map(({ streamId }) => streamId)),
      new Set([trimmed]),
    );
    const undone = await run("repair", "undo", undo);
    assert.deepEqual([undone.code, undone.stderr], [0, ""]);
    assert.match(undone.stdout, /^2 changes undone, 0 were undone already/);
    assert.deepEqual(await findNow(), found);
  });

  it("of one stream is repaired from a file of findings", async () => {
    const { regular } = filled.copies[0]!;
    const [findings, undo] = [file("findings"), file("one.undo")];
    await writeFile(findings, (await findNow()).join("\n"));
    const args = ["--findings", findings, "--stream", regular, "--apply"];
    await writeFile(undo, "mine");
    const refused = await run("repair", ...args, "--undo", undo);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /EEXIST \(BAD_CONFIG, undo_file\)\n$/);
    assert.equal(readFileSync(undo, "utf8"), "mine");
    // The file gets a default name, in the folder in which the command runs.
    const applied = await runCli(["repair", ...args, ...at()], env, directory);
    assert.equal(applied.code, 0, applied.stderr);
    assert.match(applied.stdout, /^2 changes; 0 by hand$/m);
    const name = /repair undo (stream-storage-.*\.undo)$/m.exec(applied.stdout);
    assert.ok(existsSync(file(name![1]!)));
  });
});

it("repair refuses a store that has an owner, and names the owner", async () => {
  const instanceId = "the one that is here";
  await using test = await openTestStorage({ partitions: 2, instanceId });
  const { url, schema, storage } = test;
  const [findings, undo] = [file("orphans"), file("owned.undo")];
  const orphans: Finding = {
    severity: "error",
    finding: "orphan_blocks",
    streamId: filled.copies[0]!.nobody,
    what: "",
    details: { table: "miniblocks_r00", rows: 1 },
  };
  await writeFile(findings, JSON.stringify(orphans));
  const args = ["repair", "--schema", schema, "--undo", undo];
  args.push("--findings", findings, "--apply");
  const owned = { STREAM_STORAGE_URL: url };
  const refused = await runCli(args, owned);
  assert.equal(refused.code, 2, refused.stderr);
  assert.match(refused.stderr, /the one that is here.*schema_owned/);
  assert.ok(!existsSync(undo) && !storage.signal.aborted);
  // A command that can't do its work must not take a store from its owner.
  await writeFile(undo, "mine");
  const unwritten = await runCli([...args, "--take-over"], owned);
  assert.match(unwritten.stderr, /EEXIST/);
  assert.ok(!storage.signal.aborted);
  await rm(undo);
  const taken = await runCli([...args, "--take-over"], owned);
  assert.equal(taken.code, 0, taken.stderr);
  assert.match(taken.stdout, /^Right already$/m);
  assert.ok(!existsSync(undo), "there is nothing to undo");
});
