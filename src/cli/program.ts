/** The program: finds the command, runs it, and reports how it has ended. */

import { Command, CommanderError } from "@commander-js/extra-typings";
import process from "node:process";
import { toStorageError } from "../database/failures.ts";
import { OutputClosedError } from "./cli.ts";
import { programName } from "./command.ts";
import { commands } from "./commands.ts";
import { exitCodeOf } from "./exit_codes.ts";
import { toJson } from "./format.ts";
import { InterruptedError } from "./interruption.ts";
import {
  refuseStrayAddresses,
  UsageError,
  usageErrorOf,
} from "./usage_errors.ts";
import { version } from "./version.ts";

/** Runs the command line and sets the process's exit code. */
export async function runProgram(args: readonly string[]): Promise<void> {
  try {
    refuseStrayAddresses(args);
    const program = newProgram();
    await defineCommands(program, args);
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    process.exitCode = reportError(error, args);
  }
}

/** The program without its commands' options. */
export function newProgram(): Command {
  return new Command(programName)
    .description("Manages databases of @towns/stream-storage.")
    .version(version)
    .configureHelp({ helpWidth: 80 })
    // `runProgram` prints errors in one line and without the arguments.
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .addHelpText(
      "after",
      `\nExit status: 0 success, 1 findings or differences, 2 wrong usage or failure,\n` +
        `3 no server or no login, 130 interrupted.\n` +
        `See \`${programName} COMMAND --help\` for options and examples.`,
    );
}

/** Loads only the module of the command that is used. */
async function defineCommands(
  program: Command,
  args: readonly string[],
): Promise<void> {
  const wanted = args[0] === "help" ? args[1] : args[0];
  for (const { name, summary, load } of commands) {
    const command = program.command(name).description(summary);
    if (name === wanted) (await load()).define(command);
  }
}

function reportError(error: unknown, args: readonly string[]): number {
  if (error instanceof CommanderError) {
    const usage = usageErrorOf(error);
    if (usage === undefined) return error.exitCode === 0 ? 0 : 2;
    error = usage;
  }
  if (error instanceof OutputClosedError) return 0;
  if (error instanceof InterruptedError) {
    console.error(error.message);
    return 130;
  }
  const isJson = args.includes("--json");
  if (error instanceof UsageError) {
    const { message } = error;
    console.error(isJson ? toJson({ code: "USAGE", message }) : message);
    return 2;
  }
  const { code, message, details, cause } = toStorageError(error);
  if (cause instanceof OutputClosedError) return 0;
  if (cause instanceof InterruptedError && !isJson) {
    console.error(cause.message);
    return 130;
  }
  const line = message.replaceAll(/\s*\n\s*/g, " ");
  console.error(
    isJson
      ? toJson({ code, message, details })
      : `${line} (${[code, details.reason].filter(Boolean).join(", ")})`,
  );
  return exitCodeOf(toStorageError(error));
}
