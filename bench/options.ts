/** The command line of the benchmark. */

import { parseArguments } from "../scripts/arguments.ts";
import {
  urlOptions,
  type UrlSource,
  urlUsage,
} from "../scripts/connection_url.ts";

/** The options of a run. */
export interface BenchOptions extends UrlSource {
  rounds: number;
  seconds: number;
  only: string[];
  scale: boolean;
  smoke: boolean;
  json: boolean;
  save: boolean;
  pgbin: string | undefined;
}

/** The text of `--help`. */
export const usage = `Usage: deno task bench [options]

${urlUsage}
                   Default: an embedded server
  --rounds N       rounds, 1 or more; default 5
  --seconds S      timed seconds of a measurement; default 1.5
  --only A,B       only rows whose id begins with one of these words
  --scale          also compare stores of 1 000 and 100 000 streams (minutes)
  --pgbin DIR      where psql and pgbench are; default: PGBIN, PATH, pg_config
  --json           print the result as JSON instead of the table
  --save           also update the figures in bench/ that the docs show
  --smoke          run one tiny batch of each variant, to see that it runs
  --help           this text`;

/**
 * Reads the arguments; undefined if they ask for help.
 *
 * @throws {Error} an argument is wrong; the message says what was expected.
 */
export function readOptions(args: string[]): BenchOptions | undefined {
  const { values } = parseArguments({
    args,
    options: {
      ...urlOptions,
      rounds: { type: "string" },
      seconds: { type: "string" },
      only: { type: "string", default: "" },
      scale: { type: "boolean", default: false },
      smoke: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
      pgbin: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const rounds = Number(values.rounds ?? (values.smoke ? 1 : 5));
  const seconds = Number(values.seconds ?? (values.smoke ? 0 : 1.5));
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new Error(`Expected --rounds 1 or more, received ${values.rounds}`);
  }
  if (values.url === "") throw new Error("Expected a URL after --url");
  if (!(seconds >= 0 && seconds <= 3600)) {
    throw new Error(`Expected --seconds 0 to 3600, received ${values.seconds}`);
  }
  if (values.save && (values.smoke || values.only !== "")) {
    throw new Error("Expected --save with neither --smoke nor --only");
  }
  return {
    ...values,
    pgbin: values.pgbin,
    rounds,
    seconds,
    only: values.only.split(",").filter((word) => word !== ""),
  };
}
