/**
 * The permissions that a program needs under Deno, which are the flags in
 * docs/connecting.md; and environment variables, of which none affects a store.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import process from "node:process";
import { after, describe, it } from "node:test";
import { dropSchema } from "../../src/database/migrations/mod.ts";
import { testDatabaseUrl, uniqueName } from "../support/database.ts";
import { openSession } from "../support/migration_connection.ts";
import { giveArguments } from "../support/programs/program_arguments.ts";
import { root } from "../support/root.ts";

const isDeno = "Deno" in globalThis;
const embeddedFlags = [
  "--allow-net=127.0.0.1",
  "--allow-run=/bin/sh",
  "--allow-read",
  "--allow-write",
  "--allow-sys=uid",
  "--allow-env=PATH,TMPDIR,TMP,TEMP,NODE_V8_COVERAGE",
];

/** Every variable that libpq or pg knows, with a value that would do harm. */
const poison: Record<string, string> = {
  NODE_PG_FORCE_NATIVE: "1",
  PGAPPNAME: "poison",
  PGBINARY: "poison",
  PGCLIENT_ENCODING: "LATIN1",
  PGCLIENTENCODING: "LATIN1",
  PGCONNECT_TIMEOUT: "poison",
  PGDATABASE: "poison",
  PGHOST: "192.0.2.1",
  PGHOSTADDR: "192.0.2.1",
  PGOPTIONS: "-c default_transaction_read_only=on",
  PGPASSFILE: "/nonexistent/pgpass",
  PGPASSWORD: "poison",
  PGPORT: "1",
  PGREPLICATION: "true",
  PGSERVICE: "poison",
  PGSSLMODE: "verify-full",
  PGSSLNEGOTIATION: "direct",
  PGSSLROOTCERT: "/nonexistent/root.crt",
  PGTARGETSESSIONATTRS: "standby",
  PGTZ: "poison",
  PGUSER: "poison",
  USER: "poison",
};

interface Ended {
  code: number | null;
  output: string;
  complaints: string;
}

/** Runs a program of tests/support under this runtime. */
function run(
  program: string,
  options: { flags?: string[]; args?: string[]; env?: NodeJS.ProcessEnv },
): Promise<Ended> {
  const flags = options.flags ?? (isDeno ? ["-A"] : []);
  const child = spawn(
    process.execPath,
    ["run", ...flags, `tests/support/programs/${program}.ts`],
    {
      cwd: root,
      env: options.env ?? process.env,
      stdio: ["pipe", "pipe", "pipe"],
    },
  );
  giveArguments(child, options.args ?? []);
  let output = "";
  let complaints = "";
  child.stdout.on("data", (data) => output += data);
  child.stderr.on("data", (data) => complaints += data);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, output, complaints }));
  });
}

function assertEnded(ended: Ended, output: string): void {
  assert.equal(ended.code, 0, ended.complaints);
  assert.equal(ended.output.trim(), output);
}

const schemas: string[] = [];

/** The arguments of open_write_read.ts, with a schema of its own. */
async function storeArguments(): Promise<string[]> {
  const schema = uniqueName("permissions");
  schemas.push(schema);
  return [await testDatabaseUrl(), schema];
}

after(async () => {
  const session = await openSession(await testDatabaseUrl());
  for (const schema of schemas) await dropSchema(session, schema);
  await session.close();
});

describe("The environment", () => {
  it("has no effect on a store", async () => {
    const env = { ...process.env, ...poison };
    const args = await storeArguments();
    assertEnded(await run("open_write_read", { args, env }), "1 1");
  });
});

/** Only Deno has permissions. */
const describeInDeno = isDeno ? describe : () => {};

describeInDeno("The permissions under Deno", () => {
  it("that a store needs are only the server's address", async () => {
    const args = await storeArguments();
    const server = new URL(args[0]!);
    const flags = [
      "--no-prompt",
      `--allow-net=${server.hostname}:${server.port || 5432}`,
    ];
    assertEnded(await run("open_write_read", { flags, args }), "1 1");
  });

  it("that the embedded server needs are a few more", async () => {
    const flags = ["--no-prompt", ...embeddedFlags];
    // The tests' folder may be below /dev, where Deno wants every permission.
    const env = { ...process.env, TMPDIR: "/tmp" };
    assertEnded(await run("start_embedded", { flags, env }), "started");
  });

  it("that are missing are named in the error", async () => {
    const args = await storeArguments();
    const flags = ["--no-prompt", "--allow-net=192.0.2.1"];
    const ended = await run("open_write_read", { flags, args });
    assert.equal(ended.code, 1);
    assert.match(ended.complaints, /Requires net access|EPERM/);
  });
});
