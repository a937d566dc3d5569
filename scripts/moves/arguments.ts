import { parseArguments } from "../arguments.ts";

/** Describes the command line. */
export const usage = `Usage: deno task soak:moves [options]

  Moves schemas of a Citus cluster between its workers, while stores write to the
  schemas and readers read them. Reports for each way of moving how long callers
  paused, which calls failed, which acknowledged writes were lost, and which reads
  returned less than was acknowledged before they began.

  STREAM_STORAGE_CITUS_PGBIN names the directory of the servers' programs.

  --schemas N     schemas at the same time, each with a store and a reader;
                  default 1
  --partitions N  of each schema; default 16
  --moves N       of each schema, in both ways by turns; default 50
  --writers N     streams that the store writes to at once in a schema; default 16
  --rest MS       pause between two moves of a schema; default 500
  --help          print this`;

/**
 * Reads the options, or `help`.
 *
 * @throws {Error} an argument is wrong; the message says what was expected.
 */
export function readArguments(args: string[]): {
  schemas: number;
  partitions: number;
  moves: number;
  writers: number;
  rest: number;
  help: boolean;
} {
  const { values } = parseArguments({
    args,
    options: {
      schemas: { type: "string", default: "1" },
      partitions: { type: "string", default: "16" },
      moves: { type: "string", default: "50" },
      writers: { type: "string", default: "16" },
      rest: { type: "string", default: "500" },
      help: { type: "boolean", default: false },
    },
  });
  const { help, ...numbers } = values;
  const read = Object.entries(numbers).map(([name, text]) => {
    if (!/^\d{1,6}$/.test(text)) {
      throw new Error(`Expected a whole number with --${name}`);
    }
    return [name, Number(text)];
  });
  return { ...Object.fromEntries(read), help };
}
