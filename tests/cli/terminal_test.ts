/**
 * The command line and the demo in a real terminal of 80 and of 120 columns: no
 * line wraps, bars disappear before other text is printed, and colours are
 * shown.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { displayWidth } from "../../src/cli/screen.ts";
import { migrateStore, migrateStoreDown } from "../../src/operator/mod.ts";
import { uniqueName } from "../support/database.ts";
import { cliCommand } from "../support/cli/run.ts";
import { type FilledSchema, fillSchema } from "../support/every_kind.ts";
import { openSession } from "../support/migration_connection.ts";
import { hasTmux, Tmux } from "../support/cli/tmux.ts";

/** Deno's and Bun's commands print the same; one of them is enough. */
const describeInTmux = hasTmux && "Deno" in globalThis
  ? describe
  : describe.skip;

const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;

/** Runs a command line on an empty screen, and keeps the terminal. */
async function inTerminal(
  line: string,
  { columns, env }: { columns: number; env: Record<string, string> },
): Promise<Tmux> {
  const tmux = await Tmux.start({ columns, rows: 250 }, {
    TERM: "xterm-256color",
    NO_COLOR: "",
    ...env,
  });
  await tmux.type(`clear; ${line}; echo "ended with $?"`);
  await tmux.press("Enter");
  return tmux;
}

function assertFits(lines: string[], columns: number): void {
  for (const line of lines) {
    assert.ok(displayWidth(line) <= columns, `${displayWidth(line)}: ${line}`);
  }
}

describeInTmux("in a terminal", () => {
  let filled: FilledSchema;
  let env: Record<string, string>;

  before(async () => {
    filled = await fillSchema();
    env = { STREAM_STORAGE_URL: filled.url };
  });
  after(() => filled?.[Symbol.asyncDispose]());

  const cli = (...args: string[]) =>
    [...cliCommand, ...args].map(quote).join(" ");

  for (const columns of [80, 120]) {
    it(`tables have colours and fit ${columns} columns`, async () => {
      const line = cli("status", "--schema", filled.schema);
      await using tmux = await inTerminal(line, { columns, env });
      await tmux.shows(/^ended with 0/m);
      const lines = await tmux.lines();
      assertFits(lines, columns);
      assert.match(lines[0]!, /^Server +PostgreSQL/);
      // deno-lint-ignore no-control-regex
      assert.match(await tmux.colours(), /\x1b\[1mServer/);
    });
  }

  it("a bar shows part and time left, and disappears at the end", async () => {
    const schema = uniqueName("terminal");
    const place = { url: filled.url, schema };
    await migrateStore({ ...place, partitions: 17 });
    await migrateStoreDown({ ...place, own: 3 });
    await using session = await openSession(filled.url);
    // Its tables are changed in three transactions; the last one has to wait.
    await session.script(
      `BEGIN; LOCK TABLE "${schema}".miniblocks_r10 IN ACCESS EXCLUSIVE MODE`,
    );
    const line = cli("migrate", "up", "--schema", schema);
    await using tmux = await inTerminal(line, { columns: 80, env });
    try {
      await tmux.shows(/Migrating █+░+ +\d+ %, .* left/);
      assertFits(await tmux.lines(), 80);
      await session.script("ROLLBACK");
      await tmux.shows(/^ended with 0/m);
      const lines = await tmux.lines();
      assert.match(lines[0]!, /^Schema "terminal_/);
      assert.doesNotMatch(lines.join("\n"), /█|░/);
    } finally {
      await filled.sql(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    }
  });

  it("the demo's report begins on a line of its own, and fits", async () => {
    const demo = fileURLToPath(
      new URL("../../scripts/demo.ts", import.meta.url),
    );
    const words = [...cliCommand.slice(0, -1), demo].map(quote).join(" ");
    const line = `echo "$STREAM_STORAGE_URL" | ${words} --url -`;
    await using tmux = await inTerminal(line, { columns: 80, env });
    await tmux.shows(/^ended with 0/m);
    const lines = await tmux.lines();
    assertFits(lines, 80);
    assert.match(lines[0]!, /^Streams on PostgreSQL/);
  });
});
