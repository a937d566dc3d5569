/**
 * A short run of the marks on a real server: every figure is measured. No test
 * looks at how fast anything is.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { findTools } from "../../bench/limits/tools.ts";
import { markRows } from "../../bench/marks/rows.ts";
import { type RowResult, runMarks } from "../../bench/marks/run.ts";
import { tableRow } from "../../bench/marks/table.ts";
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
