import { parseArguments } from "../arguments.ts";

/** What is measured. */
export interface Options {
  help: boolean;
  streams: number;
  blocks: number;
  partitions: number;
  /** Bytes of each event; a block has two. */
  eventBytes: number;
  rounds: number;
}

/** What is told with `--help`. */
export const usage = `Usage: deno task bench:verify [options]

  --streams N      streams; default 20000
  --blocks N       blocks in all; default 456000
  --partitions N   default 256
  --event-bytes N  bytes of an event, two in a block; default 200
  --rounds N       default 3`;

/** @throws {Error} what is wrong with the arguments. */
export function readArguments(args: string[]): Options {
  const { values } = parseArguments({
    args,
    options: {
      help: { type: "boolean", default: false },
      streams: { type: "string", default: "20000" },
      blocks: { type: "string", default: "456000" },
      partitions: { type: "string", default: "256" },
      "event-bytes": { type: "string", default: "200" },
      rounds: { type: "string", default: "3" },
    },
  });
  const count = (name: Exclude<keyof typeof values, "help">) => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new Error(`Expected a whole number above 0 behind --${name}`);
  };
  return {
    help: values.help,
    streams: count("streams"),
    blocks: count("blocks"),
    partitions: count("partitions"),
    eventBytes: count("event-bytes"),
    rounds: count("rounds"),
  };
}
