/**
 * How our programs get the address of a server. No password is ever repeated,
 * however wrong the arguments are.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { testDatabaseUrl, uniqueName } from "../support/database.ts";
import { loginOf } from "../support/login/login.ts";
import { root } from "../support/root.ts";

const secret = "HUNTER2-0123456789";
const cli = "src/cli/main.ts";
const address = `postgresql://towns:${secret}@127.0.0.1:9/towns`;

/** Every program in these folders that takes arguments. */
const programs = ["scripts", "bench"].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${folder}/${name}`)
    .filter((path) =>
      /\b(main\(process\.argv|main\(Deno\.args|await main\(|await runProgram\()/
        .test(
          textOf(path),
        ) &&
      /\b(parseArguments|readArguments|readOptions|runProgram)\(/.test(
        textOf(path),
      )
    )
);

describe("command lines", () => {
  it("are parsed in one way only", () => {
    const found = ["scripts", "bench"].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
        .map((name) => join(folder, name))
        .filter((path) => path.endsWith(".ts"))
        .filter((path) => /\bparseArgs\(/.test(textOf(path)))
    );
    assert.deepEqual(found, [join("scripts", "arguments.ts")]);
    assert.ok(programs.length >= 9, programs.join(" "));
  });

  for (const program of [cli, ...programs]) {
    it(`${program} repeats no address in the wrong place`, async () => {
      // observe.ts is Deno's alone.
      if (program.endsWith("observe.ts") && !("Deno" in globalThis)) return;
      const wrongs = [[address], [`--${address}`], [`--json=${address}`]];
      for (const args of wrongs) {
        const { code, printed } = await run(program, args);
        assert.notEqual(code, 0, printed);
        assert.ok(!printed.includes("HUNTER2"), printed);
        assert.match(printed, /not shown|not take an argument|Unknown option/);
      }
    });
  }
});

describe("src/cli/main.ts", () => {
  const schema = uniqueName("command_lines");
  let folder = "";
  let url = "";
  let password = "";
  let full = "";

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "command-lines-"));
    full = await testDatabaseUrl();
    const login = loginOf(full);
    url = login.url;
    password = login.env.PGPASSWORD ?? "";
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const check = (args: string[], given: Given = {}) =>
    run(cli, ["migrate", "check", "--schema", schema, ...args], given);

  /** Makes a file with this text, by default readable for its owner alone. */
  async function file(name: string, text: string, mode = 0o600) {
    const path = join(folder, name);
    await writeFile(path, text);
    await chmod(path, mode);
    return path;
  }

  /** The command reached the server, but the schema does not exist. */
  function assertLoggedIn({ code, printed }: Ended): void {
    assert.match(printed, /schema_not_current/);
    assert.equal(code, 1);
    assert.doesNotMatch(printed, /Warning/);
    assert.ok(password === "" || !printed.includes(password));
  }

  it("takes an address from the environment, a file and its input", async () => {
    assertLoggedIn(await check([], { env: { STREAM_STORAGE_URL: full } }));
    assertLoggedIn(await check(["--url", "-"], { input: `${full}\n` }));
    const path = await file("url", `${full}\n`);
    assertLoggedIn(await check(["--url-file", path]));
  });

  it("finds a password as psql does", async () => {
    const { hostname, port, username, pathname } = new URL(url);
    assertLoggedIn(
      await check(["--url", url], { env: { PGPASSWORD: password } }),
    );
    const where = [hostname, port || "5432", pathname.slice(1), username];
    const escaped = password.replace(/[\\:]/g, "\\$&");
    const lines = [
      `# ${where.join(":")}:comment`,
      `other:${where.slice(1).join(":")}:wrong`,
      `*:*:*:${username}:${escaped}`,
      `${where.join(":")}:later`,
    ].join("\n");
    const env = { PGPASSFILE: await file("pgpass", lines) };
    assertLoggedIn(await check(["--url", url], { env }));
    assertLoggedIn(
      await check([], { env: { ...env, STREAM_STORAGE_URL: url } }),
    );
  });

  it("refuses files that others can read, and text that is not an address", async () => {
    const open = await file("open", full, 0o640);
    const refused = await check(["--url-file", open]);
    assert.match(refused.printed, /can be used by others: chmod 600 it/);
    const env = { PGPASSFILE: open };
    const ignored = await check(["--url", url], { env });
    assert.match(ignored.printed, /Warning: .* is ignored, it can be used by/);
    for (const text of ["", `${address}\n${address}`, `${secret} ${address}`]) {
      const { code, printed } = await check(["--url", "-"], { input: text });
      assert.equal(code, 2);
      assert.match(printed, /Expected one address and nothing else/);
      assert.ok(!printed.includes("HUNTER2"), printed);
    }
    const both = await check(["--url", url, "--url-file", open]);
    assert.match(both.printed, /--url or --url-file/);
  });

  it("warns of a password in its arguments, and never repeats one", async () => {
    const wrong = new URL(url);
    wrong.password = secret;
    const wrongs: [string[], Given?][] = [
      [["--url", wrong.href]],
      [["--url", url], { env: { PGPASSWORD: secret } }],
      [["--url", address]], // nobody answers
      [["--url", `mysql://towns:${secret}@h/d`]],
      [["--url", `postgresql://towns:${secret}@h:99999/d`]],
      [["--url", `postgresql://towns:%ZZ${secret}@h/d`]],
      [["--url", `postgresql://towns:p@${secret}@h/d`]],
      [["--url", `postgresql://towns:p/${secret}@h/d`]],
      [["--url", url, "--partitions", address]],
      [["--url", url, "--to", address]],
      [["--url", url, address]],
      [["--url-file", address]],
    ];
    for (const [args, given] of wrongs) {
      const ended = await Promise.all(
        [[], ["--json"]].map((json) => check([...args, ...json], given)),
      );
      for (const { code, printed } of ended) {
        assert.notEqual(code, 0);
        assert.ok(!printed.includes("HUNTER2"), printed);
      }
    }
    const { printed } = await check(["--url", address]);
    assert.match(printed, /^Warning: everybody on this machine can read/);
    const swapped = await run(cli, [
      ...["migrate", "check", "--schema", address, "--url", "towns"],
    ]);
    assert.match(swapped.printed, /Expected no address after --schema/);
    assert.ok(!swapped.printed.includes("HUNTER2"));
  });
});

interface Given {
  env?: Record<string, string>;
  input?: string;
}

interface Ended {
  code: number | null;
  /** The text on both outputs. */
  printed: string;
}

/** Runs a program with the runtime of these tests. */
async function run(
  program: string,
  args: string[],
  { env = {}, input = "" }: Given = {},
): Promise<Ended> {
  const flags = "Deno" in globalThis ? ["-A", "--no-check"] : [];
  const child = spawn(process.execPath, ["run", ...flags, program, ...args], {
    cwd: root,
    env: { ...withoutLogins(process.env), ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.on("error", () => {}); // it need not read
  child.stdin.end(input);
  let printed = "";
  for (const output of [child.stdout, child.stderr]) {
    output.setEncoding("utf8").on("data", (text) => printed += text);
  }
  const [code] = await once(child, "close");
  return { code, printed };
}

/** The environment of the machine must not influence the tests. */
function withoutLogins(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { PGPASSWORD: _, STREAM_STORAGE_URL: _url, ...rest } = env;
  return { ...rest, PGPASSFILE: "/nonexistent/pgpass" };
}

function textOf(path: string): string {
  return readFileSync(join(root, path), "utf8");
}
