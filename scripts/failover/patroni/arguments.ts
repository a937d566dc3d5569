import { parseArguments } from "../../arguments.ts";
import { type Mode, modes, type ScenarioName, scenarioNames } from "./plan.ts";
import type { PatroniOptions } from "./run.ts";

/** Describes the command line. */
export const usage = `Usage: deno run -A scripts/failover_patroni.ts [options]

  Runs two PostgreSQL servers under Patroni with etcd, and fails over again and
  again under load. Compares the stored rows with the results of the calls.
  Needs Debian's packages patroni, etcd-server, haproxy and postgresql.

  --failovers N    default 10: every scenario in both modes
  --scenario NAME  only this one; may be repeated: ${scenarioNames.join(", ")}
  --mode NAME      only this one; may be repeated: ${modes.join(", ")}
  --seed TEXT      another seed makes other choices; default 1
  --streams N      of each of the three stores; default 8
  --keep           keep the logs of all programs, and print their directory
  --json           print the report as one JSON document
  --help           print this`;

/**
 * Reads the options, or `help`.
 *
 * @throws {Error} an argument is wrong; the message says what was expected.
 */
export function readArguments(
  args: string[],
): PatroniOptions & { json: boolean; help: boolean } {
  const { values } = parseArguments({
    args,
    options: {
      failovers: { type: "string", default: "10" },
      scenario: { type: "string", multiple: true, default: [] },
      mode: { type: "string", multiple: true, default: [] },
      seed: { type: "string", default: "1" },
      streams: { type: "string", default: "8" },
      keep: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  return {
    ...values,
    failovers: count("failovers", values.failovers),
    streams: count("streams", values.streams),
    scenarios: some<ScenarioName>("scenario", scenarioNames, values.scenario),
    modes: some<Mode>("mode", modes, values.mode),
  };
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`Expected --${name} to be 1 or more, received ${text}`);
}

/** Returns the chosen names; all names if none is chosen. */
function some<T extends string>(
  option: string,
  all: readonly T[],
  chosen: readonly string[],
): readonly T[] {
  for (const name of chosen) {
    if (all.some((known) => known === name)) continue;
    throw new Error(
      `Expected --${option} ${all.join(", ")}, received ${name}`,
    );
  }
  return chosen.length === 0
    ? all
    : all.filter((name) => chosen.includes(name));
}
