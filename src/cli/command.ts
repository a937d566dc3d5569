/**
 * The parts of a command. Its file, commands/NAME.ts, exports `define`, which
 * adds options, examples and an action to the command of its name:
 *
 * ```text
 * export function define(command: NewCommand): void {
 *   withStore(command)
 *     .option("--type <type...>", "only streams of these types")
 *     .addHelpText("after", examples("list --type space"))
 *     .action(run(async (cli, options) => {
 *       const place = await storeOf(options, cli);
 *       for await (const page of list(place, options.type)) {
 *         await cli.print(page);
 *       }
 *       return 0;
 *     }));
 * }
 * ```
 */

import type { Command, OptionValues } from "@commander-js/extra-typings";
import process from "node:process";
import { Cli } from "./cli.ts";
import type { ExitCode } from "./exit_codes.ts";
import { onInterruption } from "./interruption.ts";

/** A command before it has options. */
export type NewCommand = Command;

/** A file below commands/. */
export interface CommandModule {
  /** Adds options, help and the action. */
  define(command: NewCommand): void;
}

/** The work of a command. It returns the exit code. */
export type Work<A extends unknown[]> = (
  cli: Cli,
  ...args: A
) => Promise<ExitCode>;

/**
 * For `.action(run(…))`: the work gets `cli`, then its arguments and options.
 */
export function run<A extends unknown[]>(
  work: Work<A>,
): (...args: A) => Promise<void> {
  return async (...args) => {
    const command = args.at(-1) as Command;
    const { json = false } = command.opts() as { json?: boolean };
    using interruption = onInterruption();
    const { signal } = interruption;
    process.exitCode = await work(new Cli({ signal, isJson: json }), ...args);
  };
}

/** Text for `.addHelpText("after", …)`. */
export function examples(...lines: string[]): string {
  const shown = lines.map((line) => `  ${programName} ${line}`);
  return `\nExamples:\n${shown.join("\n")}`;
}

/** The program's name in help and examples. */
export const programName = "stream-storage";

/** A command with any arguments and options. */
// deno-lint-ignore no-explicit-any
export type AnyCommand<O extends OptionValues = any> = Command<any, O, any>;
