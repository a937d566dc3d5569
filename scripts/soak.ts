/**
 * Compares the store on PostgreSQL with the twin in memory: runs random
 * sequences of operations on both for the given time, on the server of
 * STREAM_STORAGE_TEST_URL or on an embedded one. Prints its progress. If the
 * two differ, it prints how to reproduce that, and exits with 1.
 *
 * ```sh
 * deno task soak --minutes 10
 * deno task soak --seed 42 --path 17:3:0
 * ```
 */
import process from "node:process";
import { parseArguments } from "./arguments.ts";
import { checkModel, type ModelCounts } from "../tests/support/model/model.ts";

const progressMs = 5000;

interface SoakOptions {
  seed: number;
  minutes: number;
  maxSteps: number;
  path: string | undefined;
}

/** Undefined if an argument is no number that it may be. */
function readOptions(): SoakOptions | undefined {
  const { values } = parseArguments({
    options: {
      minutes: { type: "string", default: "10" },
      seed: { type: "string" },
      path: { type: "string" },
      steps: { type: "string", default: "150" },
    },
  });
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  const [minutes, maxSteps] = [Number(values.minutes), Number(values.steps)];
  const areValid = Number.isInteger(seed) && minutes > 0 &&
    Number.isInteger(maxSteps);
  return areValid ? { seed, minutes, maxSteps, path: values.path } : undefined;
}

async function main(): Promise<number> {
  const options = readOptions();
  if (options === undefined) {
    console.error(
      "Usage: soak.ts [--minutes N] [--seed N] [--path P] [--steps N]",
    );
    return 2;
  }
  const { seed, minutes, maxSteps, path } = options;
  console.log(`Seed ${seed}, ${minutes} minutes`);
  const started = performance.now();
  let shown = started;
  const show = ({ sequences, steps, calls }: ModelCounts) => {
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    console.log(
      `${seconds} s: ${sequences} sequences, ${steps} steps, ${calls} calls`,
    );
  };
  try {
    show(
      await checkModel({
        seed,
        path,
        runs: Number.MAX_SAFE_INTEGER,
        maxSteps,
        timeLimitMs: minutes * 60_000,
        onProgress: (counts) => {
          if (performance.now() - shown < progressMs) return;
          shown = performance.now();
          show(counts);
        },
      }),
    );
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return 1;
  }
}

process.exit(await main());
