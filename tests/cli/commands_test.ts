/**
 * The published command line as a process: its outputs, its exit codes, and the
 * secrets that it never shows.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { commands } from "../../src/cli/commands.ts";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatShare,
  toJson,
} from "../../src/cli/format.ts";
import { newProgram } from "../../src/cli/program.ts";
import { progressLine } from "../../src/cli/progress.ts";
import { displayWidth } from "../../src/cli/screen.ts";
import { formatTable } from "../../src/cli/table.ts";
import { version } from "../../src/cli/version.ts";
import {
  cleanEnvironment,
  cliCommand,
  runCli,
  startCli,
} from "../support/cli/run.ts";
import { type FilledSchema, fillSchema } from "../support/every_kind.ts";
import { readDocument } from "../support/docs/documents.ts";
import { openSession } from "../support/migration_connection.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

const secret = "HUNTER2-0123456789";

let filled: FilledSchema;
let env: Record<string, string>;

before(async () => {
  filled = await fillSchema();
  env = { STREAM_STORAGE_URL: filled.url };
});
after(() => filled?.[Symbol.asyncDispose]());

/**
 * Runs several commands at once, because starting a process takes most of the
 * time.
 */
function runAll(lines: readonly (readonly string[])[]) {
  const schema = ["--schema", filled.schema];
  return Promise.all(lines.map((args) => runCli([...args, ...schema], env)));
}

function assertNarrow(text: string): void {
  for (const line of text.split("\n")) {
    assert.ok(displayWidth(line) <= 80, `${displayWidth(line)}: ${line}`);
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(line, /\x1b|\r/, "no colours where it is no terminal");
  }
}

describe("help", () => {
  it("names every command, and each has options and examples", async () => {
    const program = newProgram();
    for (const { name, summary, load } of commands) {
      const command = program.command(name).description(summary);
      (await load()).define(command);
      let help = "";
      command.configureOutput({ writeOut: (text) => help += text });
      command.outputHelp();
      assertNarrow(help);
      assert.match(help, /Examples:\n/, name);
      for (const sub of command.commands) assertNarrow(sub.helpInformation());
    }
    const help = program.helpInformation();
    for (const { name } of commands) {
      assert.match(help, RegExp(`^  ${name}`, "m"));
    }
    assertNarrow(help);
  });

  it("agrees with docs/command_line.md", async () => {
    const document = readDocument("docs/command_line.md");
    const documented = [...document.matchAll(/^\| `([a-z-]+)` /gm)].map((
      [, name],
    ) => name!);
    assert.deepEqual(
      documented.sort(),
      commands.map(({ name }) => name).sort(),
    );
    const lines = [...document.matchAll(/^stream-storage (.*)$/gm)];
    assert.ok(lines.length >= 15);
    for (const [, line] of lines) {
      const [name, ...words] = line!.replace(/ #.*/, "").trim().split(" ");
      const listed = commands.find((command) => command.name === name);
      assert.ok(listed, line!);
      const command = newProgram().command(name!);
      (await listed.load()).define(command);
      const under = command.commands.find((its) => its.name() === words[0]);
      const known = (under ?? command).options.map(({ long }) => long);
      for (const word of words) {
        if (word.startsWith("--")) assert.ok(known.includes(word), line!);
      }
    }
  });

  it("shows the version of the package", async () => {
    const file = new URL("../../deno.json", import.meta.url);
    assert.equal(version, JSON.parse(readFileSync(file, "utf8")).version);
    assert.equal((await runCli(["--version"])).stdout, `${version}\n`);
  });
});

describe("reading commands", () => {
  it("fit 80 columns, and are plain if the output is redirected", async () => {
    const { regular, gapped } = filled.copies[0]!;
    const ended = await runAll([
      ["status"],
      ["usage"],
      ["list", "--long"],
      ["inspect", gapped.slice(0, 12)],
      ["inspect", regular, "--block", "0"],
      ["inspect", gapped, "--blocks"],
      ["trim", "--simulate", "--history", "default=1"],
      ["media", "status"],
      ["migrate", "plan"],
    ]);
    for (const { code, stdout, stderr } of ended) {
      assert.equal(code, 0, stderr);
      assert.equal(stderr, "");
      assertNarrow(stdout);
    }
    const [status, usage, list, inspect, block, blocks, trim, media, plan] =
      ended.map(({ stdout }) => stdout);
    assert.match(status!, /Owner +none/);
    assert.match(usage!, /On disk/);
    assert.match(list!, RegExp(`^${gapped}$`, "m"));
    assert.match(inspect!, /███░{7}███/);
    assert.match(block!, /Header +number 0/);
    assert.match(blocks!, /7 missing/);
    assert.match(trim!, /channel +1 +2/);
    assert.match(media!, /s3 +1/);
    assert.match(plan!, /^Nothing to do$/m);
  });

  it("print JSON: one document, or a line for each entry of a list", async () => {
    const [status, ...lists] = await runAll([
      ["status", "--json"],
      ["list", "--json"],
      ["usage", "--json"],
    ]);
    assert.equal(JSON.parse(status!.stdout).schema, filled.schema);
    for (const { code, stdout } of lists) {
      assert.equal(code, 0);
      const lines = stdout.trimEnd().split("\n").map((line) =>
        JSON.parse(line)
      );
      assert.equal(lines.filter(({ streamId }) => streamId).length, 13);
    }
    assert.match(lists[1]!.stdout, /\n\{"usage":\{.*\}\n$/);
  });

  it("show payload only on request", async () => {
    const streamId = filled.copies[0]!.regular;
    const [[text] = []] = await filled.sql(
      `SELECT encode(blockdata, 'hex') FROM @.miniblocks_{regular}
        WHERE stream_id = 'regular' AND seq_num = 1`,
    );
    const block = ["inspect", streamId, "--block", "1"];
    const [decoded, asHex, asFields, without] = await runAll([
      [...block, "--json"],
      [...block, "--hex"],
      [...block, "--proto"],
      ["inspect", streamId, "--hex"],
    ]);
    assert.equal(asHex!.stdout, `${text}\n`);
    assert.match(asFields!.stdout, /^1: \{$/m);
    // Both forms contain an event's content.
    const payload = /101: 0x([0-9a-f]{16,})/.exec(asFields!.stdout)![1]!;
    assert.ok(text!.includes(payload));
    assert.ok(!decoded!.stdout.includes(payload));
    assert.deepEqual([without!.code, without!.stdout], [2, ""]);
  });

  it("end with 1 if they find something", async () => {
    await filled.sql(
      `DELETE FROM @.minipools_{regular} WHERE stream_id = 'regular'
        AND slot_num = 1`,
    );
    try {
      const [ended] = await runAll([["inspect", filled.copies[0]!.regular]]);
      assert.equal(ended!.code, 1);
      assert.match(ended!.stdout, /error minipool_hole/);
    } finally {
      await filled.restore();
    }
  });
});

describe("bad input", () => {
  /** Expects one line on stderr, and this exit code. */
  async function assertRefused(
    args: string[],
    code: number,
    pattern: RegExp,
    given: Record<string, string> = env,
  ): Promise<void> {
    const { stdout, stderr, ...ended } = await runCli(args, given);
    const shown = `${args.join(" ")}: ${stdout}${stderr}`;
    assert.equal(ended.code, code, shown);
    assert.equal(stdout, "", shown);
    assert.match(stderr, /^[^\n]+\n$/, shown);
    assert.match(stderr, pattern, shown);
    assert.ok(!stderr.includes("HUNTER2"), shown);
  }

  it("is reported in one line, with the exit code of its kind", async () => {
    const { schema } = filled;
    const at = ["--schema", schema];
    const wrong = new URL(filled.url);
    wrong.password = secret;
    const login = { STREAM_STORAGE_URL: wrong.href };
    const away = {
      STREAM_STORAGE_URL: `postgresql://towns:${secret}@127.0.0.1:9/towns`,
    };
    const database = new URL(filled.url);
    database.pathname = "/none_of_this_name";
    await Promise.all([
      assertRefused(["stauts"], 2, /did you mean status\?/),
      assertRefused([secret], 2, /^Unknown command \(it is not shown\)/),
      assertRefused(["list", "--gap"], 2, /Unknown option --gap.*--gaps\?/),
      assertRefused(["list", secret], 2, /Expected 0 arguments/),
      assertRefused(["list", "--type", secret], 2, /Expected one of space, /),
      assertRefused(["inspect", "ff".repeat(16), ...at], 2, /stream_not_found/),
      assertRefused(["status", "--schema", "none"], 2, /schema_not_found/),
      assertRefused(["status"], 2, /Expected a server: --url/, {}),
      assertRefused(["status"], 3, /connection_failed/, away),
      assertRefused(["status"], 3, /login_refused/, {
        STREAM_STORAGE_URL: database.href,
      }),
      assertRefused(["list", ...at], 3, /login_refused/, login),
      assertRefused(["media", "reconcile", "--bucket", "/none"], 2, /ENOENT/),
      assertRefused(["list", `--url-file=${filled.url}`], 2, /not shown/),
    ]);
  });

  it("leads to an error that names a table without rights", async () => {
    await using session = await openSession(filled.url);
    const role = `cli_${crypto.randomUUID().slice(0, 8)}`;
    await session.script(
      `CREATE ROLE ${role} LOGIN PASSWORD '${secret}';
      GRANT USAGE ON SCHEMA "${filled.schema}" TO ${role};
      GRANT SELECT ON ALL TABLES IN SCHEMA "${filled.schema}" TO ${role};
      REVOKE SELECT ON "${filled.schema}".minipools_r00 FROM ${role}`,
    );
    const url = new URL(filled.url);
    [url.username, url.password] = [role, secret];
    try {
      const args = ["list", "--schema", filled.schema];
      await assertRefused(args, 2, /minipools_r00.*insufficient_privilege/, {
        STREAM_STORAGE_URL: url.href,
      });
    } finally {
      await session.script(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });
});

describe("writing commands", () => {
  it("refuse a store that another instance owns, unless they take over", async () => {
    await using test = await openTestStorage({
      partitions: 2,
      instanceId: "the one that is here",
    });
    const { url, schema, storage } = test;
    const owned = { STREAM_STORAGE_URL: url };
    const trim = ["trim", "--apply", "--history", "default=5"];
    const down = ["migrate", "down", "--own", "7"];
    const [trimmed, taken] = await Promise.all(
      [trim, down].map((args) => runCli([...args, "--schema", schema], owned)),
    );
    for (const { code, stderr } of [trimmed!, taken!]) {
      assert.equal(code, 2, stderr);
      assert.match(stderr, /the one that is here.*schema_owned/);
    }
    assert.ok(!storage.signal.aborted);
    const args = [...trim, "--schema", schema, "--take-over"];
    const { code, stdout, stderr } = await runCli(args, owned);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^0 streams examined/);
    await until(() => storage.signal.aborted);
    // The command before has released the store, so this one needs no
    // --take-over.
    const after = await runCli([...down, "--schema", schema], owned);
    assert.equal(after.code, 0, after.stderr);
    assert.match(after.stdout, /own\s7,\swas\sat\s9,\sown\s\d+/);
  });
});

describe("Ctrl-C", () => {
  it("ends with 130 and leaves no session", async () => {
    await using session = await openSession(filled.url);
    await session.script(
      `BEGIN; LOCK TABLE "${filled.schema}".miniblocks_r00,
        "${filled.schema}".miniblocks_r01 IN ACCESS EXCLUSIVE MODE`,
    );
    const running = startCli(["list", "--schema", filled.schema], env);
    await using other = await openSession(filled.url);
    const waiting = async () => {
      const [[n] = []] = await other.script(
        `SELECT count(*) FROM pg_stat_activity
          WHERE application_name = 'stream-operator'`,
      );
      return Number(n);
    };
    const early = running.ended.then((ended) => {
      throw new Error(`It ended too soon: ${JSON.stringify(ended)}`);
    });
    const waited = async () => {
      while (await waiting() === 0);
    };
    await Promise.race([waited(), early]);
    early.catch(() => {});
    running.interrupt();
    const { code, stdout, stderr } = await running.ended;
    assert.deepEqual([code, stdout, stderr], [130, "", "Interrupted\n"]);
    await session.script("ROLLBACK");
    while (await waiting() > 0);
  });
});

it("A reader that closes the output causes no error", async () => {
  const [program, ...words] = cliCommand;
  const args = [...words, "list", "--json", "--schema", filled.schema];
  const child = spawn(program!, args, {
    env: cleanEnvironment(env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.destroy();
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => said += text);
  const [code] = await once(child, "close");
  assert.deepEqual([code, said], [0, ""]);
});

describe("tables", () => {
  it("cut the column that may shrink, and ids in the middle", () => {
    const id = "10".padEnd(60, "0") + "abcd";
    const table = {
      columns: [
        { head: "Stream", shrinks: true },
        { head: "Bytes", align: "right" as const },
      ],
      rows: [[id, "1"], ["short", "1 000"]],
      total: ["all", "1 001"],
    };
    const lines = formatTable(table, 30);
    assert.deepEqual(lines, [
      "Stream                   Bytes",
      "───────────────────────  ─────",
      "10000000000…0000000abcd      1",
      "short                    1 000",
      "───────────────────────  ─────",
      "all                      1 001",
    ]);
    assert.equal(formatTable(table, 200)[2], `${id}      1`);
  });

  it("have readable numbers", () => {
    const sizes = [0, 999, 1000, 999_499, 999_500, 12_345_678, 5n * 10n ** 18n];
    assert.deepEqual(sizes.map(formatBytes), [
      "0 B",
      "999 B",
      "1.00 kB",
      "999 kB",
      "1.00 MB",
      "12.3 MB",
      "5000 PB",
    ]);
    assert.equal(formatCount(1234567n), "1 234 567");
    assert.deepEqual(
      [0, 59, 61, 3600, 90_061].map(formatDuration),
      ["0 s", "59 s", "1 min 1 s", "1 h", "1 d 1 h"],
    );
    assert.deepEqual(
      [[0, 0], [1, 1000], [1, 3]].map(([a, b]) => formatShare(a!, b!)),
      ["-", "<1 %", "33 %"],
    );
    assert.equal(
      toJson({ small: 1n, large: 2n ** 60n }),
      `{"small":1,"large":"1152921504606846976"}`,
    );
  });
});

describe("progress", () => {
  const line = {
    label: "Verifying",
    unit: "streams" as const,
    amount: { done: 5000, total: 20_000, note: "3 findings" },
    rate: 1000,
  };

  it("shows part, time left and rate, and less of them in a narrow line", () => {
    const bar = "Verifying ██████░░░░░░░░░░░░░░░░░░  25 %";
    assert.equal(
      progressLine(line, 120),
      `${bar}, 15 s left, 1 000/s, 3 findings`,
    );
    assert.equal(progressLine(line, 65), `${bar}, 15 s left, 1 000/s`);
    assert.equal(progressLine(line, 45), bar);
  });

  it("shows the rate even if the end is unknown", () => {
    const amount = { done: 1_500_000 };
    assert.equal(
      progressLine({ ...line, unit: "bytes", amount, rate: 2e6 }, 80),
      "Verifying 1.50 MB, 2.00 MB/s",
    );
  });
});
