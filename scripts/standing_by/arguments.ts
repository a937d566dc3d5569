import { parseArguments } from "../arguments.ts";
import { urlOptions, type UrlSource, urlUsage } from "../connection_url.ts";
import { type Way, ways } from "./handover.ts";

/** Describes the command line. */
export const usage = `Usage: deno task standby [options]

  Runs two processes on one schema. With whenOwned "wait", the owner closes, is
  killed, is frozen, or loses its network, and the other process takes over. With
  "take", the program restarts each process when it loses the schema.

  --ways LIST        some of close, kill, freeze, network; default all
  --rounds N         of each way; default 5
  --contend SECONDS  how long two with "take" contend; default 120, 0 for not at all
${urlUsage}
  --help             print this`;

/**
 * Reads the options, or `help`.
 *
 * @throws {Error} an argument is wrong; the message says what was expected.
 */
export function readArguments(
  args: string[],
): UrlSource & {
  ways: Way[];
  rounds: number;
  contend: number;
  help: boolean;
} {
  const { values } = parseArguments({
    args,
    options: {
      ways: { type: "string", default: ways.join() },
      rounds: { type: "string", default: "5" },
      contend: { type: "string", default: "120" },
      ...urlOptions,
      help: { type: "boolean", default: false },
    },
  });
  const wanted = ways.filter((way) => values.ways.split(",").includes(way));
  if (wanted.length !== values.ways.split(",").length) {
    throw new Error(`Expected --ways to list some of ${ways.join(", ")}`);
  }
  return {
    ...values,
    ways: wanted,
    rounds: wholeNumber("rounds", values.rounds),
    contend: wholeNumber("contend", values.contend),
  };
}

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new Error(`Expected a whole number with --${name}`);
}
