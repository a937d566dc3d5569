import { parseArguments } from "../arguments.ts";

/** What the command line takes. */
export const usage = `Usage: deno task soak:moves [options]

  Schemas on a Citus cluster are moved between its workers while stores write to
  them and readers read them. Tells of each way of moving how long callers paused,
  which calls failed, which acknowledged writes were lost and which reads were
  older than what was acknowledged before they began.

  The programs of the servers are those that STREAM_STORAGE_CITUS_PGBIN names.

  --schemas N     at the same time, each with a store and a reader; default 1
  --partitions N  of each schema; default 16
  --moves N       of each schema, in both ways by turns; default 50
  --writers N     streams that are written at once, in each schema; default 16
  --rest MS       between two moves of a schema; default 500
  --help          print this`;

/** The options, or `help`. @throws {Error} what is wrong with the arguments. */
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
