/**
 * Checks that memory does not grow while media streams are created, moved,
 * trimmed and deleted, and while stores take over from each other. See `usage`.
 *
 * ```sh
 * deno task soak:media-workers --minutes 60
 * deno run -A scripts/with_postgres.ts bun scripts/soak_media_workers.ts
 * ```
 */
import process from "node:process";
import { parseArguments, runProgram } from "./arguments.ts";
import {
  type ChurnOptions,
  type ChurnSample,
  runChurn,
} from "./chaos_media/churn.ts";

const usage = `Usage: deno task soak:media-workers [options]

  Uploads, writes, trims, moves, reads and deletes media streams for the given
  minutes, with a bucket whose requests fail. One process does that, in which
  one store after another takes over the schema. Prints a line about memory each
  minute. Fails if a stream is not as it was acknowledged, if something remains
  that no stream needs, or if the heap has grown: from the mean of the second
  quarter of the run to the mean of the last by a fifth and 10 MB.

  --minutes N     default 10
  --seed TEXT     another seed makes other choices; default 1
  --dialect NAME  s3 or gcs; default gcs
  --streams N     default 8
  --faults N      how many of 100 requests fail; default 5
  --takeover N    seconds between two takeovers; default 60
  --help          print this`;

type Options = ChurnOptions & { help: boolean };

function readArguments(args: string[]): Options {
  const { values } = parseArguments({
    args,
    options: {
      minutes: { type: "string", default: "10" },
      seed: { type: "string", default: "1" },
      dialect: { type: "string", default: "gcs" },
      streams: { type: "string", default: "8" },
      faults: { type: "string", default: "5" },
      takeover: { type: "string", default: "60" },
      help: { type: "boolean", default: false },
    },
  });
  const { seed, help, dialect } = values;
  if (dialect !== "s3" && dialect !== "gcs") {
    throw new Error(`Expected --dialect s3 or gcs: ${dialect}`);
  }
  return {
    seed,
    help,
    dialect,
    durationMs: positive("minutes", values.minutes) * 60_000,
    streams: Math.ceil(positive("streams", values.streams)),
    faults: Number(values.faults) || 0,
    takeoverMs: positive("takeover", values.takeover) * 1000,
    sampleMs: 60_000,
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0 && value < 1e6) return value;
  throw new Error(`Expected --${name} to be above 0, received ${text}`);
}

async function run(options: Options): Promise<number> {
  const { samples, broken } = await runChurn({
    ...options,
    onSample: print,
    onBroken: (text) => console.error(text),
  });
  const grown = growth(samples);
  if (grown !== undefined) broken.push(grown);
  const end = "All is as it was acknowledged, and memory did not grow";
  console.log(broken.length === 0 ? end : broken.join("\n"));
  return broken.length === 0 ? 0 : 1;
}

function print(sample: ChurnSample): void {
  const text = Object.entries(sample).map(([name, n]) => `${name} ${n}`);
  console.log(text.join(", "));
}

/** Describes how the heap has grown; undefined if it has not. */
function growth(samples: readonly ChurnSample[]): string | undefined {
  const quarter = Math.floor(samples.length / 4);
  if (quarter === 0) return undefined;
  const mean = (from: number) =>
    samples.slice(from, from + quarter).reduce(
      (sum, { heapMb }) => sum + heapMb,
      0,
    ) / quarter;
  const [before, after] = [mean(quarter), mean(samples.length - quarter)];
  if (after <= before * 1.2 + 10) return undefined;
  return `The heap has grown from ${before} to ${after} MB`;
}

process.exitCode = await runProgram({ usage, readArguments, run });
