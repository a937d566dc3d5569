/** The check of retired words finds them in every kind of text and name. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { findRetiredWords } from "../../scripts/check_words.ts";
import { namesOnly } from "../../scripts/check_words/names.ts";
import { readRetiredWords } from "../../scripts/check_words/retired_words.ts";

const glossary = `# Glossary

## Retired words

| retired         | say instead | in                              | except                |
| --------------- | ----------- | ------------------------------- | --------------------- |
| \`wug\`, \`wugs\` | thing       | everywhere                      | \`src/birds/\`: a bird |
| \`blick\`        | notify      | names everywhere                |                       |
| \`latest\`       | last        | \`src/queue/\`, \`docs/queue.md\` |                       |
`;

const tree = {
  "README.md": "Two wugs.\n\nWe blick the latest.\n",
  "CONTRIBUTING.md": "",
  "mod.ts": "const a = 1;\nexport const wugCount = a;\n",
  "bench/b.ts": "// All text:\n/** A Wug. */\n",
  "docs/glossary.md": glossary,
  "docs/queue.md": "the latest write\n",
  "docs/rules.yaml": "a: wug\n",
  "scripts/s.ts": 'const message = "wug";\n',
  "src/birds/wug.ts": "export class Wug {}\n",
  "src/queue/names.ts":
    '// to blick\nconst text = "blick";\nthis.#isBlickedOf(BLICK_MS, blick);\n',
  "src/queue/at.ts": "let latestAt = 0;\n",
  "src/latest/wugs.ts": "const a = 1;\n",
  "tests/golden/plans.txt.ts": "wug\n",
  "tests/wugged_test.ts": "wugged();\n",
};

async function withTree<T>(
  files: Record<string, string>,
  use: (root: string) => T,
): Promise<T> {
  const root = await mkdtemp(join(tmpdir(), "check-words-"));
  try {
    for (const [file, text] of Object.entries(files)) {
      await mkdir(dirname(join(root, file)), { recursive: true });
      await writeFile(join(root, file), text);
    }
    return use(root);
  } finally {
    await rm(root, { recursive: true });
  }
}

describe("The check of retired words", () => {
  it("finds them in names of files, pages, comments, messages and parts of names", async () => {
    const found = await withTree(tree, findRetiredWords);
    assert.deepEqual(
      found.map(({ file, line, word }) => `${file}:${line} ${word}`).sort(),
      [
        "README.md:1 wugs",
        "bench/b.ts:2 wug",
        "docs/queue.md:1 latest",
        "docs/rules.yaml:1 wug",
        "mod.ts:2 wug",
        "scripts/s.ts:1 wug",
        "src/latest/wugs.ts:1 wugs",
        "src/queue/at.ts:1 latest",
        "src/queue/names.ts:3 blick",
      ],
    );
    assert.equal(found.find(({ word }) => word === "blick")?.instead, "notify");
  });

  it("refuses a glossary whose table it can't read", () => {
    assert.throws(() => readRetiredWords("# Glossary\n"), /Expected a table/);
    const empty = glossary.replace("| everywhere ", "| everywhre");
    assert.throws(() => readRetiredWords(empty), /Expected words and places/);
  });
});

describe("The names of a file", () => {
  it("are the code outside comments, strings and templates", () => {
    const source = [
      "const a = `b ${c(`d ${e} {`, { f: 1 })} g`; // h",
      'const i = "j\\" k" + \'l\' / m; /* n',
      ' * o */ const p = /q`[/"]\\//.test(r) ? s / t : u;',
    ].join("\n");
    const names = namesOnly(source);
    assert.equal(names.length, source.length);
    assert.deepEqual(
      names.split("\n").map((line) => line.match(/\b[a-z]\b/g)?.join("")),
      ["acef", "im", "prstu"],
    );
  });
});
