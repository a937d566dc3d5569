/**
 * Command lines of our programs. An address has a password in it, and is easily
 * put in the wrong place: whatever is wrong with the arguments, none that was
 * not expected is repeated.
 */
import process from "node:process";
import { parseArgs, type ParseArgsConfig } from "node:util";

/** How an address begins. */
const scheme = /^\s*[a-z][a-z0-9+.-]*:\/\//i;

/**
 * `parseArgs` whose errors repeat nothing but names of options. Only `--url`
 * takes an address.
 *
 * @throws {Error} what is wrong with the arguments.
 */
export function parseArguments<const T extends ParseArgsConfig>(
  config: T,
): ReturnType<typeof parseArgs<T>> {
  const parsed = parseQuietly(config);
  for (const [name, value] of Object.entries(parsed.values)) {
    if (name === "url") continue;
    if ([value].flat().some((one) => scheme.test(String(one)))) {
      throw new Error(`Expected no address behind --${name} (it is not shown)`);
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
    // The others name options that we know.
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

/** What a program of ours is made of. */
export interface Program<T extends { help: boolean }> {
  usage: string;
  /** @throws {Error} what is wrong with the arguments. */
  readArguments(args: string[]): T;
  /** Its work; the exit code. */
  run(options: T): Promise<number>;
}

/** Runs a program, or says how it is used; the exit code, 2 for wrong arguments. */
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
