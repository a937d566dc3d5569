/**
 * A short run of the benchmarks on a real server: they measure every workload and
 * leave the right rows. No test looks at how fast they are.
 */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { findTools, type Tools } from "../../bench/limits/tools.ts";
import { readOptions } from "../../bench/options.ts";
import { chart } from "../../bench/report/chart.ts";
import type { BenchResult } from "../../bench/report/result.ts";
import { withFigures } from "../../bench/report/save.ts";
import { textReport } from "../../bench/report/text.ts";
import { judge } from "../../bench/rounds.ts";
import { runBenchmark } from "../../bench/run.ts";
import { testDatabaseUrl } from "../support/database.ts";

describe("The benchmarks", () => {
  let result: BenchResult;
  let tools: Tools;

  before(async () => {
    tools = await findTools();
    const args = ["--smoke", "--scale"];
    const url = await testDatabaseUrl();
    // The run itself checks the tables after each batch, and throws.
    result = await runBenchmark(readOptions([`--url=${url}`, ...args])!, {
      partitions: 2,
      onProgress: () => {},
    });
  });

  it("measure every variant of every workload", () => {
    const measured = result.workloads.flatMap(({ id, variants }) =>
      variants.map(({ name, rounds }) => ({ id, name, rounds }))
    );
    assert.ok(measured.length > 40);
    for (const { id, name, rounds } of measured) {
      const isMissing = name.includes("pgbench") && !tools.pgbench ||
        name.includes("psql") && !tools.psql;
      assert.equal(rounds.length, isMissing ? 0 : 1, `${id}, ${name}`);
      for (const { operationsPerSecond } of rounds) {
        assert.ok(operationsPerSecond > 0, `${id}, ${name}`);
      }
    }
  });

  it("have a ratio for every goal whose tools are there", () => {
    const names = [tools.pgbench ? "" : "pgbench", tools.psql ? "" : "psql"];
    for (const { id, ratios } of result.workloads) {
      assert.ok(ratios.length > 0, id);
      for (const { to, measured } of ratios) {
        const isMissing = names.some((name) => name && to.includes(name));
        assert.equal(measured === undefined, isMissing, `${id}, ${to}`);
      }
    }
  });

  it("report as text, as a chart and in README", () => {
    const titles = result.workloads.map(({ title }) => title);
    const text = textReport(result);
    const svg = chart(result);
    for (const title of titles) assert.ok(text.includes(title), title);
    assert.match(svg, /\n<svg [^]*<\/svg>\n$/);
    const marks = (name: string) =>
      `a\n<!-- figures of ${name} -->\nSTALE\n<!-- end of ${name} -->\nz\n`;
    const readme = withFigures(marks("deno") + marks("bun"), result);
    assert.ok(readme.includes(titles[0]!));
    assert.equal(readme.split("STALE").length, 2);
    assert.ok(readme.startsWith("a\n") && readme.endsWith("z\n"));
  });
});

describe("The verdict on a goal", () => {
  const rounds = (...figures: number[]) =>
    figures.map((operationsPerSecond) => ({ operationsPerSecond }));

  it("uses the median of the rounds' own ratios", () => {
    const variants = [
      { name: "a", rounds: rounds(10, 90, 40) },
      { name: "b", rounds: rounds(10, 10, 10) },
    ];
    const throughput = { of: "a", to: "b", measure: "throughput" } as const;
    assert.deepEqual(judge({ ...throughput, atLeast: 4 }, variants), {
      ...throughput,
      atLeast: 4,
      measured: { median: 4, min: 1, max: 9, rounds: [1, 9, 4] },
      holds: true,
    });
    assert.equal(
      judge({ ...throughput, atLeast: 4.1 }, variants).holds,
      false,
    );
  });

  it("inverts ratios of time", () => {
    const variants = [
      { name: "much", rounds: rounds(50) },
      { name: "little", rounds: rounds(100) },
    ];
    const time = { of: "much", to: "little", measure: "time" } as const;
    assert.equal(judge({ ...time, atMost: 2 }, variants).holds, true);
    assert.equal(judge({ ...time, atMost: 1.9 }, variants).holds, false);
  });

  it("is missing if a variant was not measured", () => {
    const goal = {
      of: "a",
      to: "b",
      measure: "throughput",
      atLeast: 1,
    } as const;
    const variants = [
      { name: "a", rounds: rounds(1) },
      { name: "b", rounds: [] },
    ];
    assert.deepEqual(judge(goal, variants), goal);
  });
});

describe("The options of the benchmarks", () => {
  it("are refused if they make no sense", () => {
    for (const option of ["--rounds=0", "--seconds=x", "--url=", "--fast"]) {
      assert.throws(() => readOptions([option]), option);
    }
    assert.throws(() => readOptions(["--save", "--smoke"]));
    assert.throws(() => readOptions(["--save", "--only=read"]));
  });
});
