/**
 * Runs every command of docs/runbook.md, in the order of the page, on a server of
 * its own, and compares what it prints with the page, without numbers, times and
 * names. With UPDATE_GOLDEN set, the test writes the output into the page, for you
 * to read and commit.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import pg from "pg";
import { runProgram } from "../../src/cli/program.ts";
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from "../../src/embedded/mod.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { schemaLockId, type StreamId } from "../../src/storage/stream_id.ts";
import { queryOnce } from "../support/database.ts";
import { readDocument } from "../support/docs/documents.ts";
import { root } from "../support/root.ts";

const path = "docs/runbook.md";
const schema = "node";

const idOf = (head: string, body: string, bytes: number) =>
  (head + body.repeat(bytes - 1)).padEnd(64, "0") as StreamId;
const space = idOf("10", "ab", 21);
const channel = idOf("20", "cd", 32);
const settings = idOf("a5", "ef", 21);

let server: EmbeddedPostgres;
let folder: string;
let otherClient: pg.Client | undefined;
const directory = process.cwd();
const environment = { ...process.env };

const sql = (text: string) => queryOnce(server.url, text);

/** Events that happen before a block, by the document's names for them. */
const events: Record<string, () => Promise<unknown>> = {
  "the owner has died": () =>
    sql(`INSERT INTO ${schema}.singlenodekey VALUES
      ('94e9d291-174c-4cad-aaad-529b9d6cbe8b', now(), 'hostname=towns-0')`),
  "a snapshot is lost": () =>
    sql(`DELETE FROM ${schema}.singlenodekey;
      UPDATE ${schema}.es SET latest_snapshot_miniblock = 35
      WHERE stream_id = '${space}'`),
  "another store": async () => {
    const options = { url: server.url, schema: "replica", partitions: 2 };
    await (await openStreamStorage(options)).close();
  },
  "one store": () => sql("DROP SCHEMA replica CASCADE"),
  "another session holds the lock": async () => {
    otherClient = new pg.Client({
      connectionString: server.url,
      application_name: "psql",
    });
    await otherClient.connect();
    await otherClient.query(`SELECT pg_advisory_lock(${schemaLockId(schema)})`);
  },
};

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "operations-"));
  server = await startEmbeddedPostgres({ settings: { autovacuum: "on" } });
  await fill();
  process.chdir(folder);
  process.env.STREAM_STORAGE_URL = server.url;
  process.env.NO_COLOR = "1";
});
after(async () => {
  process.chdir(directory);
  for (const name of ["STREAM_STORAGE_URL", "NO_COLOR"]) {
    const value = environment[name];
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  process.exitCode = 0;
  await otherClient?.end();
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Stores a space with snapshots, and two smaller streams. */
async function fill(): Promise<void> {
  await using storage = await openStreamStorage({
    url: server.url,
    schema,
    partitions: 4,
    startupDelayMs: 0,
  });
  for (
    const [id, blocks] of [[space, 40], [channel, 8], [settings, 2]] as const
  ) {
    const block = (number: number) => ({
      number: BigInt(number),
      // Random data, because the server would compress any other.
      data: crypto.getRandomValues(new Uint8Array(10_000)),
      ...(number % 10 === 0 && { snapshot: new Uint8Array(5000).fill(1) }),
    });
    await storage.createStreamStorage(id, block(0));
    await storage.writeMiniblocks(
      id,
      Array.from({ length: blocks }, (_, i) => block(i + 1)),
      {
        generation: BigInt(blocks + 1),
        envelopes: [new Uint8Array(300), new Uint8Array(400)],
      },
      { generation: 1n },
    );
  }
  await storage.close();
  await sql("VACUUM ANALYZE");
}

/** A block of the document: its commands, and what they print. */
interface Block {
  event: string | undefined;
  commands: { line: string; output: string }[];
}

const fence = /(?:<!-- before: (.*) -->\n\n)?```console\n([\s\S]*?)```/g;

function blocksOf(document: string): Block[] {
  return [...document.matchAll(fence)].map(([, event, text]) => ({
    event,
    commands: text!.split(/^\$ /m).slice(1).map((part) => {
      const end = part.indexOf("\n");
      return { line: part.slice(0, end), output: part.slice(end + 1) };
    }),
  }));
}

describe("docs/runbook.md", () => {
  const document = readDocument(path);
  const blocks = blocksOf(document);

  it("has at least ten blocks of commands", () => {
    assert.ok(blocks.length >= 10, `${blocks.length} blocks`);
  });

  for (const { event, commands } of blocks) {
    if (event !== undefined) {
      it(`goes on when ${event}`, async () => {
        assert.ok(Object.hasOwn(events, event), event);
        await events[event]!();
      });
    }
    for (const command of commands) {
      it(`shows the output of: ${command.line}`, async () => {
        const printed = await run(command.line);
        if (process.env.UPDATE_GOLDEN) command.output = printed;
        else assert.equal(shapeOf(printed), shapeOf(command.output));
      });
    }
  }

  it("is rewritten under UPDATE_GOLDEN", () => {
    if (!process.env.UPDATE_GOLDEN) return;
    let nth = 0;
    const text = document.replace(fence, (whole, _event, old) => {
      const { commands } = blocks[nth++]!;
      const fresh = commands.map(({ line, output }) => `$ ${line}\n${output}`);
      return whole.replace(
        `\`\`\`console\n${old}`,
        () =>
          `\`\`\`console\n${
            fresh.join("\n").replaceAll(/\n\n+(?=\$ )/g, "\n\n")
          }`,
      );
    });
    writeFileSync(join(root, path), text);
  });
});

/** Runs a command in this process, which is faster; knows `| grep -v WORDS`. */
async function run(line: string): Promise<string> {
  const [command, filter] = line.split(" | grep -v ");
  const [name, ...args] = command!.split(" ");
  assert.equal(name, "stream-storage");
  const { stdout } = process;
  const isTTY = Object.getOwnPropertyDescriptor(stdout, "isTTY");
  const { write } = stdout;
  const listeners = stdout.listeners("error");
  let printed = "";
  try {
    Object.defineProperty(stdout, "isTTY", {
      value: false,
      configurable: true,
    });
    stdout.write = ((text: string) => {
      printed += text;
      return true;
    }) as typeof write;
    await runProgram(args);
  } finally {
    stdout.write = write;
    // Each command adds a listener; so many would cause a warning.
    for (const each of stdout.listeners("error")) {
      if (!listeners.includes(each)) stdout.off("error", each as () => void);
    }
    if (isTTY !== undefined) Object.defineProperty(stdout, "isTTY", isTTY);
  }
  const code = process.exitCode;
  process.exitCode = 0;
  assert.ok(code === undefined || code === 0 || code === 1, `${code}: ${line}`);
  if (filter === undefined) return printed;
  const without = new RegExp(filter.replaceAll("'", ""));
  return printed.split("\n").filter((each) => !without.test(each)).join("\n");
}

/** The text without what differs between runs: numbers, times, names, wrapping. */
function shapeOf(text: string): string {
  return text
    .replaceAll(/\n {12,}(?=\S)/g, " ")
    // The server's limit and the runtime's permissions depend on the machine.
    .replace(/ in addition to its round trip[\s\S]*/, "")
    .replace(/This runtime needs none|Deno allows what .*/, "ALLOWED")
    .replaceAll(/\bconnections?\b/g, "connections")
    .replaceAll(/[─█░▁▂▃▄▅▆▇]+/g, "-")
    .replaceAll(/\d{4}-\d\d-\d\d(T[\d:.]+Z)?/g, "DATE")
    .replaceAll(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, "UUID")
    .replaceAll(/\b[0-9a-f]{6,}…[0-9a-f]*/g, "ID")
    .replaceAll(/\b[0-9a-f]{16,}\b/g, "ID")
    .replaceAll(/hostname=[^\s,]+/g, "hostname=NAME")
    .replaceAll(/\b(deno|bun|node) \d[\d.]*/g, "RUNTIME")
    .replaceAll(/<?\d+( \d{3})*(\.\d+)?/g, "N")
    .replaceAll(/\bN (B|kB|MB|GB)\b/g, "SIZE")
    .replaceAll(/\bN (d|h|min|s)\b( N (h|min|s)\b)?/g, "TIME")
    .replaceAll(/[ \t]+/g, " ")
    .replaceAll(/ $/gm, "")
    .trim();
}
