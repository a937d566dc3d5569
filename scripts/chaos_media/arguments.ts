import { parseArguments } from "../arguments.ts";
import type { ChaosOptions, Dialect } from "./run.ts";

/** Describes the command line. */
export const usage = `Usage: deno task chaos:media [options]

  A process uploads media streams, moves them into a bucket and back, reads and
  deletes them. The program kills the process or starts another that takes over.
  The bucket's requests fail before or after they take effect, hang, are answered
  by a proxy, or are executed late. After each round the program reads every
  acknowledged block back, and compares rows, objects and the counts of
  reconcileMedia with the expected ones.

  --rounds N      default 20
  --seed TEXT     another seed makes other choices; default 1
  --dialect NAME  s3, gcs or both, which take turns; default both
  --streams N     default 8
  --faults N      how many of 100 requests fail; default 12
  --json          print the report as one JSON document
  --help          print this`;

/**
 * Reads the options, or `help`.
 *
 * @throws {Error} an argument is wrong; the message says what was expected.
 */
export function readArguments(
  args: string[],
): ChaosOptions & { json: boolean; help: boolean } {
  const { values } = parseArguments({
    args,
    options: {
      rounds: { type: "string", default: "20" },
      seed: { type: "string", default: "1" },
      dialect: { type: "string", default: "both" },
      streams: { type: "string", default: "8" },
      faults: { type: "string", default: "12" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const dialects: Record<string, Dialect[]> = {
    s3: ["s3"],
    gcs: ["gcs"],
    both: ["s3", "gcs"],
  };
  const chosen = dialects[values.dialect];
  if (chosen === undefined) {
    throw new Error(`Expected --dialect s3, gcs or both: ${values.dialect}`);
  }
  return {
    ...values,
    dialects: chosen,
    rounds: count("rounds", values.rounds, 1),
    streams: count("streams", values.streams, 1),
    faults: count("faults", values.faults, 0),
  };
}

function count(name: string, text: string, min: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= min) return value;
  throw new Error(`Expected --${name} to be ${min} or more, received ${text}`);
}
