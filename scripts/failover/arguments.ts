import { parseArguments } from "../arguments.ts";
import type { Mode } from "./pair.ts";
import type { FailoverOptions } from "./run.ts";
import { scenarios } from "./scenarios.ts";

/** Describes the command line. */
export const usage = `Usage: deno task failover [options]

  Fails over from a PostgreSQL server to its streaming standby under load.
  Compares the stored rows with the results of the calls, and finds out which
  server gave them. Needs Linux, root, iproute2 and Debian's package postgresql.

  --scenario NAME  may be repeated; default all:
${
  Object.entries(scenarios)
    .map(([name, { title }]) => `                     ${name}: ${title}`)
    .join("\n")
}
  --mode MODE      sync or async; default: all modes of the scenario
  --runs N         of each scenario and mode; default 2; in half of them the
                   primary is the URL's first host
  --seed TEXT      another seed makes other choices; default 1
  --streams N      streams that are written and read at the same time; default 60
  --json           print the outcome of each run as one JSON document
  --help           print this

  The columns: acknowledged writes; lost ones among them; writes of unknown
  outcome; of these, writes that a read has shown and that are not stored; the
  longest time without an answer; the slowest call; the longest time between two
  acknowledged writes; the time from the promotion to the first write at the new
  primary; connections that remain to the old primary (and its sessions).
  Exits with 1 if something is wrong.`;

/**
 * Reads the options, or `help`.
 *
 * @throws {Error} an argument is wrong; the message says what was expected.
 */
export function readArguments(
  args: string[],
): FailoverOptions & { json: boolean; help: boolean } {
  const { values } = parseArguments({
    args,
    options: {
      scenario: { type: "string", multiple: true },
      mode: { type: "string" },
      runs: { type: "string", default: "2" },
      seed: { type: "string", default: "1" },
      streams: { type: "string", default: "60" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const unknown = values.scenario?.find((name) => !(name in scenarios));
  if (unknown !== undefined) {
    const names = Object.keys(scenarios).join(", ");
    throw new Error(`Expected --scenario ${names}, received ${unknown}`);
  }
  return {
    ...(values.scenario && { scenarios: values.scenario }),
    ...(values.mode !== undefined && { modes: [mode(values.mode)] }),
    runs: count("runs", values.runs),
    seed: values.seed,
    streams: count("streams", values.streams),
    json: values.json,
    help: values.help,
  };
}

function mode(text: string): Mode {
  if (text === "sync" || text === "async") return text;
  throw new Error(`Expected --mode sync or async, received ${text}`);
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`Expected --${name} to be 1 or more, received ${text}`);
}
