import { parseArguments } from "../arguments.ts";
import { type CrashOptions, victims } from "./run.ts";

/** Describes the command line. */
export const usage = `Usage: deno task crash [options]

  Kills PostgreSQL or the writing process with SIGKILL under load, or cuts the
  network between them, again and again. Then compares the stored rows with the
  results of the calls: every acknowledged write must be there byte for byte, no
  failed write may be there, none may be there twice, and a write of unknown
  outcome must be there wholly or not at all.

  --victim NAME        server, writer or network; default server; network needs
                       Linux, root and iproute2
  --kills N            default 50
  --seed TEXT          another seed makes other choices; default 1
  --streams N          streams that are written at the same time; default 24
  --setting NAME=VALUE a setting of the server; may be repeated; with
                       synchronous_commit=off the program finds lost writes
  --json               print the report as one JSON document
  --help               print this`;

/**
 * Reads the options, or `help`.
 *
 * @throws {Error} an argument is wrong; the message says what was expected.
 */
export function readArguments(
  args: string[],
): CrashOptions & { json: boolean; help: boolean } {
  const { values } = parseArguments({
    args,
    options: {
      victim: { type: "string", default: "server" },
      kills: { type: "string", default: "50" },
      seed: { type: "string", default: "1" },
      streams: { type: "string", default: "24" },
      setting: { type: "string", multiple: true, default: [] },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const victim = victims.find((name) => name === values.victim);
  if (victim === undefined) {
    throw new Error(
      `Expected --victim server, writer or network, received ${values.victim}`,
    );
  }
  return {
    ...values,
    victim,
    kills: count("kills", values.kills),
    streams: count("streams", values.streams),
    settings: Object.fromEntries(values.setting.map(setting)),
  };
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`Expected --${name} to be 1 or more, received ${text}`);
}

function setting(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new Error(`Expected --setting NAME=VALUE, received ${text}`);
}
