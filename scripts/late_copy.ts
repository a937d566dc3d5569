/**
 * Loses a write, repeats it, writes more, and lets the first copy reach the
 * server last. The program tries every write operation with all that can follow
 * it, in every setting. It prints a table, and exits with 1 if a late copy
 * changed acknowledged data, or if a combination proved nothing.
 *
 * ```sh
 * deno task late-copy
 * deno task late-copy --depth 3 --sample 5000 --setting serializable
 * ```
 */
import process from "node:process";
import { runProgram } from "./arguments.ts";
import { parseArguments } from "./arguments.ts";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { testServerSettings } from "../tests/support/database.ts";
import { combinations } from "../tests/support/late_copy/combinations.ts";
import { formatReports } from "../tests/support/late_copy/format_reports.ts";
import {
  isClean,
  type LateCopyReport,
  runLateCopies,
} from "../tests/support/late_copy/run_late_copies.ts";
import { sampleOf } from "../tests/support/late_copy/samples.ts";
import {
  SETTING_NAMES,
  type SettingName,
} from "../tests/support/late_copy/settings.ts";

const usage = `Usage: deno task late-copy [options]

  --depth N       at most N later writes; default 2
  --everything    also try several later writes after which the lost write's own
                  checks would stop its late copy
  --sample N      try N combinations in each setting, which the seed chooses, and
                  one of each kind that is known to lose data; default all
  --seed TEXT     default 1
  --setting TEXT  only settings with TEXT in their names; may be repeated
  --jobs N        how many settings run at the same time; default 2
  --json          print the reports as one JSON document
  --help          print this`;

const progressMs = 5000;
const variable = "STREAM_STORAGE_TEST_URL";

interface Options {
  depth: number;
  everything: boolean;
  sample: number;
  seed: string;
  settings: SettingName[];
  jobs: number;
  json: boolean;
  help: boolean;
}

async function main(
  options: Options,
): Promise<number> {
  if (process.env[variable]) return await runAll(options);
  await using server = await startEmbeddedPostgres({
    settings: testServerSettings,
  });
  process.env[variable] = server.url;
  return await runAll(options);
}

async function runAll(
  { depth, everything, sample, seed, settings, jobs, json }: Options,
): Promise<number> {
  const all = await combinations({ depth, everything });
  const chosen = sampleOf(all, { seed, size: sample });
  console.error(
    `${chosen.length} of ${all.length} combinations in each of ` +
      `${settings.length} settings, seed ${seed}`,
  );
  const reports = new Map<SettingName, LateCopyReport>();
  const waiting = [...settings];
  const worker = async () => {
    for (let next; (next = waiting.shift()) !== undefined;) {
      const onProgress = progress(chosen.length);
      const run = { setting: next, combinations: chosen, onProgress };
      reports.set(next, await runLateCopies(run));
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  const inOrder = settings.map((name) => reports.get(name)!);
  console.log(json ? JSON.stringify(inOrder) : formatReports(inOrder));
  return inOrder.every(isClean) ? 0 : 1;
}

function progress(total: number) {
  let shown = performance.now();
  return (done: number, { setting, changed, broken }: LateCopyReport) => {
    if (performance.now() - shown < progressMs && done < total) return;
    shown = performance.now();
    console.error(
      `${setting}: ${done} of ${total}, ${changed} changed acknowledged ` +
        `state, ${broken.length} say nothing`,
    );
  };
}

function readArguments(args: string[]): Options {
  const { values } = parseArguments({
    args,
    options: {
      depth: { type: "string", default: "2" },
      everything: { type: "boolean", default: false },
      sample: { type: "string" },
      seed: { type: "string", default: "1" },
      setting: { type: "string", multiple: true, default: [] },
      jobs: { type: "string", default: "2" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { sample, setting } = values;
  const settings = SETTING_NAMES.filter((name) =>
    setting.length === 0 || setting.some((part) => name.includes(part))
  );
  if (settings.length === 0) {
    throw new Error(
      `Expected --setting to be in one of:\n  ${SETTING_NAMES.join("\n  ")}`,
    );
  }
  return {
    ...values,
    depth: count("depth", values.depth),
    jobs: count("jobs", values.jobs),
    sample: sample === undefined ? Infinity : count("sample", sample),
    settings,
  };
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`Expected --${name} to be 1 or more, received ${text}`);
}

process.exit(await runProgram({ usage, readArguments, run: main }));
