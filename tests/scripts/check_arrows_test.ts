/** The check of imports finds every import that breaks a rule, and no other. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import {
  findBadImports,
  findBadSharing,
  named,
} from "../../scripts/check_arrows.ts";

const script = fileURLToPath(
  new URL("../../scripts/check_arrows.ts", import.meta.url),
);

const goodTree = {
  "storage/errors.ts": 'import "./model.ts";\n',
  "storage/model.ts": "",
  "database/driver.ts": 'import "../storage/errors.ts";\n',
  "postgres/store.ts": '// import "../cli/main.ts";\n' +
    '/**\n * import "../cli/main.ts";\n */\n' +
    'export {\n  a,\n  b,\n} from "../database/driver.ts";\n',
  "cli/main.ts": 'import { open } from "../postgres/store.ts";\n',
};

/** Each file breaks one rule, in the line whose number ends its name. */
const badTree = {
  "storage/model_1.ts": 'import "../telemetry/names.ts";\n',
  "storage/rules_4.ts":
    'import "./model.ts";\n\nexport {\n} from "../memory/store.ts";\n',
  "database/pool_2.ts":
    '// why\nimport type { A } from "../memory/store.ts";\n',
  "database/wire/frame_1.ts": 'import pg from "pg";\n',
  "postgres/write_2.ts":
    'export const load = () =>\n  import("pg/lib/utils");\n',
  "postgres/open_1.ts": 'import type { A } from "../workers/loop.ts";\n',
  "memory/store_1.ts": 'export * from "../postgres/store.ts";\n',
  "memory/root_1.ts": 'import "../../mod.ts";\n',
  "memory/text_1.ts": 'import text from "./1.sql" with { type: "text" };\n',
  "unheard_of/thing_1.ts": 'import "../postgres/store.ts";\n',
  "workers/cycle_b_2.ts": '\nimport type { A } from "./cycle_a.ts";\n',
  "workers/cycle_a.ts": 'export * from "./cycle_b_2.ts";\n',
};

/** As above; programs and tests share `tests/support/` and `tests/fixtures/`. */
const projectTree = {
  "src/storage/model.ts": "",
  "bench/run.ts": 'import "../scripts/arguments.ts";\n',
  "scripts/arguments.ts": 'import "../src/storage/model.ts";\n',
  "scripts/crash/run.ts": 'import "../../tests/support/proxy.ts";\n',
  "scripts/crash/bad_1.ts": 'import "../../tests/faults/crash_test.ts";\n',
  "tests/fixtures/blocks.ts": "",
  "tests/faults/crash_test.ts": 'import "../../scripts/crash/run.ts";\n',
  "tests/support/proxy.ts": 'import "../fixtures/blocks.ts";\n',
  "tests/support/bad_1.ts": 'import type { A } from "../../bench/run.ts";\n',
  "tests/support/servers/bad_2.ts":
    'import "../proxy.ts";\nexport * from "../../faults/crash_test.ts";\n',
};

async function withTree(
  files: Record<string, string>,
  use: (src: string) => void,
): Promise<void> {
  const src = await mkdtemp(join(tmpdir(), "arrows-"));
  try {
    for (const [file, text] of Object.entries(files)) {
      await mkdir(dirname(join(src, file)), { recursive: true });
      await writeFile(join(src, file), text);
    }
    use(src);
  } finally {
    await rm(src, { recursive: true });
  }
}

describe("The check of imports", () => {
  it("has rules only for files and folders that exist", () => {
    const src = new URL("../../src/", import.meta.url);
    const missing = named.filter((path) => !existsSync(new URL(path, src)));
    assert.deepEqual(missing, []);
  });

  it("accepts a tree that keeps the rules", async () => {
    await withTree(goodTree, (src) => {
      assert.deepEqual(findBadImports(src), []);
    });
  });

  it("finds every bad import, with its line", async () => {
    await withTree({ ...goodTree, ...badTree }, (src) => {
      const found = findBadImports(src);
      assert.deepEqual(
        found.map(({ file }) => file),
        Object.keys(badTree).filter((file) => /_\d\.ts$/.test(file)).sort(),
      );
      for (const { file, line, rule } of found) {
        assert.ok(file.endsWith(`_${line}.ts`), `${file}:${line}: ${rule}`);
      }
    });
  });

  it("finds what programs and tests must not share, with its line", async () => {
    await withTree(projectTree, (root) => {
      const found = findBadSharing(root);
      assert.deepEqual(
        found.map(({ file }) => file).sort(),
        Object.keys(projectTree).filter((file) => file.includes("bad")).sort(),
      );
      for (const { file, line, rule } of found) {
        assert.ok(file.endsWith(`_${line}.ts`), `${file}:${line}: ${rule}`);
      }
    });
  });

  it("fails as a command, and names file, line and rule", async () => {
    const files = Object.entries(badTree)
      .map(([file, text]) => [`src/${file}`, text]);
    const tree = { ...projectTree, ...Object.fromEntries(files) };
    await withTree(tree, (root) => {
      const { status, stderr } = spawnSync(
        process.execPath,
        ["run", ...("Deno" in globalThis ? ["-A"] : []), script, root],
        { encoding: "utf8" },
      );
      assert.equal(status, 1);
      assert.match(
        stderr,
        /memory\/store_1\.ts:1: memory may import storage, .*, not postgres\/store\.ts\n/,
      );
      assert.match(
        stderr,
        /scripts\/crash\/bad_1\.ts:1: scripts\/ may not import tests\/faults\//,
      );
    });
  });
});
