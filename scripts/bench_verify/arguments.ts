import { parseArguments } from "../arguments.ts";

/** How much data to verify. */
export interface Options {
  help: boolean;
  streams: number;
  blocks: number;
  partitions: number;
  /** Bytes of each event; a block has two. */
  eventBytes: number;
  rounds: number;
}

/** Describes the command line. */
export const usage = `Usage: deno task bench:verify [options]

  --streams N      default 20000
  --blocks N       of all streams together; default 456000
  --partitions N   default 256
  --event-bytes N  bytes of an event; a block has two; default 200
  --rounds N       default 3`;

/** @throws {Error} an argument is wrong; the message says what was expected. */
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
    throw new Error(`Expected a whole number above 0 after --${name}`);
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
