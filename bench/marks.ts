/**
 * Measures what has to hold besides the throughput of single calls: large reads
 * and writes, pauses of the event loop, opening, the server's memory, and very
 * large streams; with `--against`, beside another checkout.
 *
 * ```sh
 * git worktree add ../before COMMIT && cp -r node_modules ../before
 * deno task bench:marks --against ../before
 * ```
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArguments, runProgram } from "../scripts/arguments.ts";
import { tableHead, tableRow } from "./marks/table.ts";
import { type Checkout, type RowResult, runMarks } from "./marks/run.ts";
import type { Runtime } from "./marks/side.ts";
import type { SizeName } from "./marks/sizes.ts";
import { startServer } from "./server.ts";

const usage = `Usage: deno task bench:marks [options]

Starts a server of its own and measures this checkout under Deno and Bun, round
by round, in processes that are started once.

  --against DIR     also another checkout, with its packages in node_modules
  --only A,B        only rows whose id begins with one of these words
  --runtime WHICH   deno, bun, or both; default both
  --rounds N        rounds, 1 or more; default 7
  --seconds S       timed seconds of a measurement; default 0.6
  --json            print every round, a line of JSON for each row
  --profile DIR     also a profile of each row of this checkout, and its picture
  --smoke           tiny sizes, to see that it runs
  --help            this text`;

interface Options {
  against: string | undefined;
  only: string[];
  runtimes: Runtime[];
  rounds: number;
  seconds: number;
  size: SizeName;
  profile?: string;
  json: boolean;
  help: boolean;
}

function readArguments(args: string[]): Options {
  const { values } = parseArguments({
    args,
    options: {
      against: { type: "string" },
      only: { type: "string", default: "" },
      runtime: { type: "string", default: "both" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      profile: { type: "string" },
      json: { type: "boolean", default: false },
      smoke: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { against, runtime, smoke } = values;
  const rounds = Number(values.rounds ?? (smoke ? 1 : 7));
  const seconds = Number(values.seconds ?? (smoke ? 0 : 0.6));
  if (against !== undefined && !existsSync(join(against, "mod.ts"))) {
    throw new Error("Expected a checkout after --against (it is not shown)");
  }
  if (!["deno", "bun", "both"].includes(runtime)) {
    throw new Error("Expected --runtime deno, bun or both");
  }
  if (!Number.isSafeInteger(rounds) || rounds < 1) {
    throw new Error("Expected --rounds 1 or more");
  }
  if (!(seconds >= 0 && seconds <= 3600)) {
    throw new Error("Expected --seconds 0 to 3600");
  }
  return {
    ...values,
    against,
    rounds,
    seconds,
    only: values.only.split(",").filter((word) => word !== ""),
    runtimes: runtime === "both" ? ["deno", "bun"] : [runtime as Runtime],
    size: smoke ? "smoke" : "full",
  };
}

const here = fileURLToPath(new URL("..", import.meta.url));

async function run(
  { against, json, profile, ...options }: Options,
): Promise<number> {
  const checkouts: Checkout[] = [{ name: "now", directory: here }];
  if (against !== undefined) {
    checkouts.push({ name: "before", directory: against });
  }
  const onProgress = (text: string) => void process.stderr.write(`${text}\n`);
  await using server = await startServer({
    settled: options.size === "full",
    onProgress,
  });
  const { url } = server;
  const names = checkouts.map(({ name }) => name);
  if (!json) console.log(tableHead(names));
  // What is measured is printed at once: a run takes long, and may be ended.
  const onResult = (result: RowResult) =>
    console.log(json ? JSON.stringify(result) : tableRow(result, names));
  await runMarks({
    ...options,
    url,
    checkouts,
    profiles: profile,
    onProgress,
    onResult,
  });
  return 0;
}

process.exitCode = await runProgram({ usage, readArguments, run });
