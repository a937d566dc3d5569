/**
 * Reads the command lines of the programs in this folder. An address may
 * contain a password, and a user may put it in the wrong place. So no error
 * message repeats an argument that the program did not expect.
 */
import process from "node:process";
import { parseArgs, type ParseArgsConfig } from "node:util";

/** Matches the beginning of an address. */
const scheme = /^\s*[a-z][a-z0-9+.-]*:\/\//i;

/**
 * Calls `parseArgs`, and repeats only names of options in its errors. Only
 * `--url` takes an address.
 *
 * @throws {Error} an argument is wrong; the message says what was expected.
 */
export function parseArguments<const T extends ParseArgsConfig>(
  config: T,
): ReturnType<typeof parseArgs<T>> {
  const parsed = parseQuietly(config);
  for (const [name, value] of Object.entries(parsed.values)) {
    if (name === "url") continue;
    if ([value].flat().some((one) => scheme.test(String(one)))) {
      throw new Error(`Expected no address after --${name} (it is not shown)`);
    }
  }
  return parsed;
}

function parseQuietly<T extends ParseArgsConfig>(
  config: T,
): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    // The other errors name only options that the program has.
    if (code === "ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL") {
      throw new Error(
        "Expected options only, received another argument " +
          "(it is not shown)",
      );
    }
    if (code === "ERR_PARSE_ARGS_UNKNOWN_OPTION") {
      const name = /'(--[a-z][a-z-]{0,30})'/.exec(message)?.[1];
      throw new Error(
        name === undefined
          ? "Unknown option (it is not shown)"
          : `Unknown option ${name}`,
      );
    }
    throw error;
  }
}

/** The parts of a program. */
export interface Program<T extends { help: boolean }> {
  usage: string;
  /**
   * @throws {Error} an argument is wrong; the message says what was expected.
   */
  readArguments(args: string[]): T;
  /** Does the work and returns the exit code. */
  run(options: T): Promise<number>;
}

/**
 * Runs a program or prints its usage. Returns the exit code: 2 for wrong
 * arguments.
 */
export async function runProgram<T extends { help: boolean }>(
  { usage, readArguments, run }: Program<T>,
): Promise<number> {
  let options: T;
  try {
    options = readArguments(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  if (!options.help) return await run(options);
  console.log(usage);
  return 0;
}
