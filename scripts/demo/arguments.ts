import { parseArguments } from "../arguments.ts";
import { urlOptions, type UrlSource, urlUsage } from "../connection_url.ts";
import type { DemoOptions } from "./run.ts";

/** Describes the command line. */
export const usage = `Usage: deno task demo [options]

  Writes an invented history into streams of every type, reads it back, compares
  every byte and shows what is stored. The server is an embedded one, unless the
  options name another.

  --seed TEXT      another seed makes another history; default 1
  --partitions N   1 to 256; default 16
${urlUsage}
  --schema NAME    a schema that does not exist yet; default a new name
  --keep           with --url: do not drop the schema at the end
  --corrupt        change one stored byte, to see that the comparison notices it
  --json           print the report as one JSON document
  --help           print this`;

/**
 * Reads the options, or `help`.
 *
 * @throws {Error} an argument is wrong; the message says what was expected.
 */
export function readArguments(
  args: string[],
): DemoOptions & UrlSource & { json: boolean; help: boolean } {
  const { values } = parseArguments({
    args,
    options: {
      seed: { type: "string", default: "1" },
      partitions: { type: "string", default: "16" },
      ...urlOptions,
      schema: { type: "string" },
      keep: { type: "boolean", default: false },
      corrupt: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.keep && (values.url ?? values["url-file"]) === undefined) {
    throw new Error(
      "Expected --url with --keep: an embedded server is removed",
    );
  }
  return {
    ...values,
    partitions: Number(values.partitions),
    schema: values.schema ?? `stream_storage_demo_${newSuffix()}`,
  };
}

function newSuffix(): string {
  return crypto.randomUUID().slice(0, 8);
}
