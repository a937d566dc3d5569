/**
 * A short run of the marks on a real server: every figure is measured. No test
 * looks at how fast anything is.
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { findTools } from "../../bench/limits/tools.ts";
import { markRows } from "../../bench/marks/rows.ts";
import { type RowResult, runMarks } from "../../bench/marks/run.ts";
import { tableRow } from "../../bench/marks/table.ts";
import { flameGraph } from "../../bench/report/flame_graph.ts";
import { testDatabaseUrl } from "../support/database.ts";

const directory = fileURLToPath(new URL("../..", import.meta.url));

describe("The marks", () => {
  it("measure every figure of every row", async () => {
    const { psql } = await findTools();
    const failures: string[] = [];
    const results: RowResult[] = [];
    await runMarks({
      url: await testDatabaseUrl(),
      checkouts: [{ name: "now", directory }],
      runtimes: ["Deno" in globalThis ? "deno" : "bun"],
      rounds: 1,
      seconds: 0,
      size: "smoke",
      only: [],
      onProgress: (text) => {
        if (text.includes("Error")) failures.push(text);
      },
      onResult: (result) => void results.push(result),
    });
    assert.deepEqual(failures, []);
    assert.deepEqual(
      results.map(({ row }) => row.id),
      markRows.map((r) => r.id),
    );
    for (const { row, sides } of results) {
      const rounds = sides.flatMap((side) => side.rounds);
      const isMissing = row.id.endsWith("-psql") && psql === undefined;
      assert.equal(rounds.length, isMissing ? 0 : 1, row.id);
      for (const { name, isOfServer } of isMissing ? [] : row.figures) {
        const value = rounds[0]![name];
        if (isOfServer && value === undefined) continue;
        assert.ok(value! > 0, `${row.id}, ${name}`);
      }
    }
    for (const result of results) {
      const { title } = result.row;
      assert.ok(tableRow(result, ["now"]).startsWith(`| ${title} | `), title);
    }
  });

  it("draw what the thread of a row does", async (t) => {
    const profiles = await mkdtemp(join(tmpdir(), "marks-"));
    t.after(() => rm(profiles, { recursive: true }));
    const runtime = "Deno" in globalThis ? "deno" : "bun";
    const failures: string[] = [];
    await runMarks({
      url: await testDatabaseUrl(),
      checkouts: [{ name: "now", directory }],
      runtimes: [runtime],
      rounds: 1,
      seconds: 0.2,
      size: "smoke",
      only: ["read-100x10k-8"],
      profiles,
      onProgress: (text) => {
        if (text.includes("Error")) failures.push(text);
      },
      onResult: () => {},
    });
    assert.deepEqual(failures, []);
    const picture = join(profiles, `read-100x10k-8.${runtime}.svg`);
    const svg = await readFile(picture, "utf8");
    assert.match(svg, />readMiniblocks, 100 × 10 KB, 8 at once \(\w+\)</);
    assert.match(svg, / · database\//);
  });

  it("compare checkouts round by round", () => {
    const row = {
      id: "read",
      title: "Reads",
      figures: [{ name: "perSecond", title: "a second", ratioAtLeast: 1.3 }],
    };
    const side = (checkout: string, ...figures: number[]) => ({
      checkout,
      runtime: "deno",
      rounds: figures.map((perSecond) => ({ perSecond })),
    });
    const table = (...now: number[]) => {
      const result: RowResult = {
        row,
        sides: [side("now", ...now), side("before", 10, 20, 10)],
      };
      return tableRow(result, ["now", "before"]);
    };
    assert.equal(
      table(20, 26, 13),
      "| Reads | a second | deno | 20.0 (13.0–26.0) | 10.0 (10.0–20.0) " +
        "| 1.30 (1.30–2.00) | ratio ≥ 1.3 | yes |",
    );
    assert.match(table(20, 24, 12), /\*\*no\*\* \|$/);
  });
});

describe("A flame graph", () => {
  const url = "file:///store/src/database/wire/backend.ts";
  const nodes = [
    { id: 1, callFrame: { functionName: "(root)", url: "" }, children: [2, 4] },
    {
      id: 2,
      callFrame: { functionName: "read", url: "" },
      children: [3, 5, 7],
    },
    { id: 3, callFrame: { functionName: "feed", url } },
    { id: 4, callFrame: { functionName: "(idle)", url: "" } },
    { id: 5, callFrame: { functionName: "feed", url }, children: [6] },
    { id: 6, callFrame: { functionName: "slice", url: "" } },
    { id: 7, callFrame: { functionName: "a<b>&", url: "ext:net/a.js" } },
  ];
  const draw = (...samples: number[]) =>
    flameGraph({ nodes, samples }, { title: "A < B", subtitle: "" });

  it("merges a function's samples, and leaves out idle ones", () => {
    const titles = Array.from(
      draw(4, 3, 5, 6, 4, 7, 4).matchAll(/<g><title>(.*?)<\/title>/g),
      ([, title]) => title,
    );
    assert.deepEqual(titles, [
      "all samples, 100 %",
      // The runtime's function that called it is passed over.
      "read, 75 %",
      "feed · database/wire/backend.ts, 75 %",
      "slice, 25 %",
      "a&lt;b>&amp; · ext:net/a.js, 25 %",
    ]);
  });

  it("is a picture without samples, too", () => {
    const svg = draw();
    assert.match(svg, /<title>A &lt; B<\/title>/);
    assert.match(svg, /all samples, 0 %/);
    assert.doesNotMatch(svg, /NaN|Infinity/);
  });

  it("cuts a label to its box and to 80 letters", () => {
    const functionName = "f".repeat(200);
    const svg = flameGraph({
      nodes: [{ id: 1, callFrame: { functionName, url: "" } }],
      samples: [1],
    }, { title: "", subtitle: "" });
    assert.match(svg, />f{80}<\/text>/);
  });
});
