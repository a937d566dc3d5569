/**
 * Type-checks and runs every TypeScript snippet of README.md, docs/ and doc
 * comments. Checks that every command in their shell snippets exists, and that
 * every link has a target.
 *
 * A snippet is a module, or a piece of a program that may use the names of
 * `Surroundings` without declaring them. After `console.log(…); // text` the
 * test compares the output with the text. A snippet after `<!-- snippet: types
 * only, REASON -->` is only type-checked.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { dropSchema } from "../../src/database/migrations/mod.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import {
  anchorsOf,
  type CodeBlock,
  codeBlocks,
  commentedPaths,
  documentPaths,
  proseOf,
} from "../support/docs/documents.ts";
import { root } from "../support/root.ts";
import { openSession } from "../support/migration_connection.ts";
import { configuration } from "../support/registry/published_files.ts";
import { runCommand } from "../support/registry/run_command.ts";
import { expectedOutput, moduleOf } from "../support/docs/snippets/module.ts";
import {
  madeSchemas,
  realUrls,
  schemas,
} from "../support/docs/snippets/package.ts";
import { endProgram } from "../support/docs/snippets/process.ts";
import {
  Observed,
  type Surroundings,
} from "../support/docs/snippets/surroundings.ts";
import { openTestStorage } from "../support/storage.ts";

const blocks = [...documentPaths(), ...commentedPaths()].flatMap(codeBlocks);
const snippets = blocks.filter(({ language }) => language === "ts");
const isDeno = "Deno" in globalThis;

/**
 * Doc comments whose snippets are only type-checked. A mark in a doc comment
 * would be visible.
 */
const typesOnly = new Map([
  ["src/embedded/mod.ts", "the quick start runs such a server"],
  ["src/operator/cluster/move_store.ts", "it needs a cluster"],
  ["src/testing/contract.ts", "it registers tests"],
]);

/** Where a block stands, for messages and names. */
const placeOf = ({ path, line }: CodeBlock) => `${path}:${line}`;

let dir: string;
const fileOf = (block: CodeBlock) =>
  join(dir, `${placeOf(block).replace(/\W/g, "_")}.ts`);

before(() => {
  dir = mkdtempSync(join(tmpdir(), "snippets-"));
  mkdirSync(dir, { recursive: true });
  for (const block of snippets) writeFileSync(fileOf(block), moduleOf(block));
});

after(() => rmSync(dir, { recursive: true, force: true }));

describe("The documentation's snippets", () => {
  let test: Awaited<ReturnType<typeof openTestStorage>>;
  const genesis = { number: 0n, data: new Uint8Array([1]) };

  before(async () => {
    test = await openTestStorage();
    realUrls.add(test.url);
    schemas.readable = test.schema;
    schemas.own = `${test.schema}_own`;
  });

  after(async () => {
    await test[Symbol.asyncDispose]();
    const session = await openSession(test.url);
    for (const schema of madeSchemas) await dropSchema(session, schema);
    await session.close();
  });

  async function surroundings(observed: Observed): Promise<Surroundings> {
    const { storage, url } = test;
    const streamId = newStreamId("channel");
    const mediaId = newStreamId("media");
    for (const id of [streamId, mediaId]) {
      await storage.createStreamStorage(id, genesis);
    }
    return {
      url,
      schema: schemas.own,
      storage,
      streamId,
      mediaId,
      genesis,
      accessKeyId: "key",
      secretAccessKey: "secret",
      Deno: {
        env: { get: () => url },
        readTextFile: () => Promise.resolve("{}"),
        serve: (_options, handler) => observed.serve(handler),
      },
      Bun: { serve: ({ fetch }) => observed.serve(fetch) },
      console: observed.console,
    };
  }

  it("pass the type check", { skip: !isDeno }, async () => {
    const files = snippets.map(fileOf);
    const config = join(root, "deno.json");
    await runCommand(
      "deno",
      ["check", "--quiet", `--config=${config}`].concat(
        files,
      ),
      { cwd: root },
    );
  });

  for (const block of snippets) {
    const isLeft = block.mark.startsWith("types only, ") ||
      typesOnly.has(block.path);
    if (isLeft) continue;
    it(`run without an error: ${placeOf(block)}`, async () => {
      assert.equal(block.mark, "", "Expected no mark but `types only`");
      const observed = new Observed();
      const module = await import(pathToFileURL(fileOf(block)).href);
      await module.run(await surroundings(observed));
      await observed.checkAnswers();
      endProgram();
      const expected = expectedOutput(block);
      if (expected.length > 0) assert.deepEqual(observed.lines, expected);
    });
  }
});

describe("The documentation's commands", () => {
  const { tasks } = configuration as unknown as {
    tasks: Record<string, string>;
  };
  const programs = ["scripts", "bench", "src/cli"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map(String)
      .filter((path) => path.endsWith(".ts"))
      .map((path) => readFileSync(join(root, folder, path), "utf8"))
  ).join("\n");
  const commands = blocks.filter(({ language }) => language === "sh")
    .flatMap((block) =>
      block.text.replaceAll("\\\n", " ").split("\n")
        .map((text) => ({ place: placeOf(block), text }))
    );

  it("call tasks that exist, with options that exist", () => {
    for (const { place, text } of commands) {
      const [, task, rest = ""] = /\bdeno task (?:--\S+ )?([a-z:-]+)(.*)/
        .exec(text) ?? [];
      if (task === undefined) continue;
      assert.ok(task in tasks, `${place}: there is no task ${task}`);
      for (const [, option] of rest.matchAll(/ --([a-z-]+)/g)) {
        const isKnown = programs.includes(`--${option}`) ||
          programs.includes(`"${option}":`);
        assert.ok(isKnown, `${place}: ${task} has no option --${option}`);
      }
    }
  });

  it("call programs that exist", () => {
    for (const { place, text } of commands) {
      for (const [path] of text.matchAll(/\b(scripts|bench|tests)\/\S+\.ts/g)) {
        assert.ok(existsSync(join(root, path)), `${place}: ${path}`);
      }
    }
  });

  it("name tasks that exist in prose, too", () => {
    for (const path of documentPaths()) {
      for (const [, task] of proseOf(path).matchAll(/`deno task ([a-z:-]+)/g)) {
        assert.ok(task! in tasks, `${path}: there is no task ${task}`);
      }
    }
  });
});

describe("The documentation's links", () => {
  it("lead to files and headings that exist", () => {
    for (const path of documentPaths()) {
      for (const [, link] of proseOf(path).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(link!)) continue;
        const [file = "", anchor] = link!.split("#");
        const target = file === "" ? path : join(dirname(path), file);
        assert.ok(existsSync(join(root, target)), `${path}: ${link}`);
        if (anchor === undefined) continue;
        assert.ok(anchorsOf(target).has(anchor), `${path}: ${link}`);
      }
    }
  });

  it("reach every page of docs/ from its index", () => {
    const index = proseOf("docs/README.md");
    for (const path of documentPaths()) {
      const name = path.replace(/^docs\//, "");
      if (!path.startsWith("docs/") || name === "README.md") continue;
      assert.ok(index.includes(`(${name})`), `${path} is not in the index`);
    }
  });
});
