/**
 * Compares the store with the existing node's statements and with what the
 * server can do at all; see README.md and `--help`.
 */

import process from "node:process";
import { connectionUrl } from "../scripts/connection_url.ts";
import { readOptions, usage } from "./options.ts";
import { json, keepResult, publishResult } from "./report/save.ts";
import { textReport } from "./report/text.ts";
import { runBenchmark } from "./run.ts";

async function main(args: string[]): Promise<number> {
  let options;
  try {
    options = readOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  if (options === undefined) {
    console.log(usage);
    return 0;
  }
  const progress = progressLine();
  let result;
  try {
    const url = await connectionUrl(options);
    const onProgress = progress.show;
    result = await runBenchmark({ ...options, url }, { onProgress });
  } catch (error) {
    progress.clear();
    console.error(firstCause(error));
    return 1;
  }
  progress.clear();
  await keepResult(result);
  if (options.save) await publishResult(result);
  console.log(options.json ? json(result) : textReport(result));
  return 0;
}

/** Returns the first error. Later ones may be failures to clean up after it. */
function firstCause(error: unknown): unknown {
  return error instanceof SuppressedError
    ? firstCause(error.suppressed)
    : error;
}

/**
 * Shows progress. A terminal has one line, which each text overwrites;
 * elsewhere each round prints a line.
 */
function progressLine() {
  const { stderr } = process;
  const start = performance.now();
  let shown = "";
  return {
    show(text: string) {
      const seconds = Math.round((performance.now() - start) / 1000);
      if (stderr.isTTY) {
        stderr.write(`\r\x1b[K${seconds} s: ${text}`);
        return;
      }
      const part = text.split(",")[0]!;
      if (part !== shown) stderr.write(`${seconds} s: ${part}\n`);
      shown = part;
    },
    clear() {
      if (stderr.isTTY) stderr.write("\r\x1b[K");
    },
  };
}

process.exitCode = await main(process.argv.slice(2));
