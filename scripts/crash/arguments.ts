import { parseArguments } from "../arguments.ts";
import { type CrashOptions, victims } from "./run.ts";

/** What the command line takes. */
export const usage = `Usage: deno task crash [options]

  Kills PostgreSQL, or the process that writes, with SIGKILL under load, or cuts
  the network between them, again and again, and compares all that is stored with what the callers were told:
  every acknowledged write is there byte for byte, no failed one is, none is
  there twice, and one of unknown outcome is there wholly or not at all.

  --victim WHO         server, writer or network; default server; for the
                       network it takes Linux, root and iproute2
  --kills N            default 50
  --seed TEXT          other choices; default 1
  --streams N          written at the same time; default 24
  --setting NAME=VALUE of the server, any number of them; with
                       synchronous_commit=off writes are lost, and it is noticed
  --json               print the report as one JSON document
  --help               print this`;

/** The options, or `help`. @throws {Error} what is wrong with the arguments. */
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
