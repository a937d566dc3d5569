/** Writes runs to files. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { runtimeName } from "../environment.ts";
import { chart } from "./chart.ts";
import { markdownReport } from "./markdown.ts";
import { overviewChart } from "./overview.ts";
import type { BenchResult } from "./result.ts";

const here = new URL("../", import.meta.url);

/**
 * Writes the JSON and the chart of this run to `bench/results/`, which git
 * ignores.
 */
export async function keepResult(result: BenchResult): Promise<void> {
  const results = new URL("results/", here);
  await mkdir(results, { recursive: true });
  await writeBoth(results, "latest", result);
}

/** Makes the README show this run for this runtime. */
export async function publishResult(result: BenchResult): Promise<void> {
  const infix = runtimeName() === "deno" ? "" : `.${runtimeName()}`;
  await writeFile(new URL(`results${infix}.json`, here), json(result));
  await writeFile(new URL(`chart${infix}.svg`, here), chart(result));
  if (infix === "") {
    const figures = new URL("../docs/figures.svg", here);
    await writeFile(figures, overviewChart(result));
  }
  const readme = new URL("README.md", here);
  const text = await readFile(readme, "utf8");
  await writeFile(readme, withFigures(text, result));
}

async function writeBoth(
  directory: URL,
  name: string,
  result: BenchResult,
): Promise<void> {
  const stem = `${name}.${runtimeName()}`;
  await writeFile(new URL(`${stem}.json`, directory), json(result));
  await writeFile(new URL(`${stem}.svg`, directory), chart(result));
}

/** Formats the run as JSON. */
export function json(result: BenchResult): string {
  return `${JSON.stringify(result, null, 2)}\n`;
}

/** Replaces the text between the two marks of this runtime. */
export function withFigures(readme: string, result: BenchResult): string {
  const open = `<!-- figures of ${runtimeName()} -->`;
  const close = `<!-- end of ${runtimeName()} -->`;
  const from = readme.indexOf(open);
  const to = readme.indexOf(close);
  if (from < 0 || to < from) throw new Error(`Expected ${open} in the README`);
  return [
    readme.slice(0, from + open.length),
    "<!-- deno-fmt-ignore-start -->",
    markdownReport(result),
    "<!-- deno-fmt-ignore-end -->",
    readme.slice(to),
  ].join("\n\n");
}
