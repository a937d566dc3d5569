import { parseArguments } from "../arguments.ts";
import type { Mode } from "./pair.ts";
import type { FailoverOptions } from "./run.ts";
import { scenarios } from "./scenarios.ts";

/** What the command line takes. */
export const usage = `Usage: deno task failover [options]

  Fails over from a PostgreSQL server to its streaming standby, under load, and
  compares what is stored with what the callers were told, and where they were
  told it. Takes Linux, root, iproute2 and Debian's package postgresql.

  --scenario NAME  any number of them; default all:
${
  Object.entries(scenarios)
    .map(([name, { title }]) => `                     ${name}: ${title}`)
    .join("\n")
}
  --mode MODE      sync or async; default: both, where the scenario has both
  --runs N         of each; in half of them the primary is the url's first
                   host; default 2
  --seed TEXT      other choices; default 1
  --streams N      written and read at the same time; default 60
  --json           print the outcome of each run as one JSON document
  --help           print this

  The columns: acknowledged writes; those that are lost; writes of unknown
  outcome; those of these that a read has shown, and that are not there; the longest in which no call was answered; the slowest call; the
  longest between two acknowledged writes; from the promotion to the first write
  there; connections to the losing server that are left (and its sessions).
  Exits with 1 if something is not as it must be.`;

/** The options, or `help`. @throws {Error} what is wrong with the arguments. */
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
