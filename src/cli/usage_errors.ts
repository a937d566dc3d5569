/**
 * Errors of a command line. An address contains a password and is easily put in
 * the wrong place. So the errors never repeat an unexpected argument.
 */

import type { CommanderError } from "@commander-js/extra-typings";

/** The command line is wrong; the message says what was expected. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The beginning of an address. */
const scheme = /^\s*[a-z][a-z0-9+.-]*:\/\//i;

/** The options that take an address. */
const addressOptions = new Set(["--url", "--from", "--to", "--metrics"]);

/**
 * Refuses an address in a wrong place, before another error could repeat it.
 *
 * @throws {UsageError}
 */
export function refuseStrayAddresses(args: readonly string[]): void {
  for (const [i, arg] of args.entries()) {
    const [, option, value = arg] = /^(--[a-z-]+)=(.*)$/s.exec(arg) ?? [];
    const before = option ?? args[i - 1];
    if (!scheme.test(value.replace(/^-+/, ""))) continue;
    if (before !== undefined && addressOptions.has(before)) continue;
    const where = before?.startsWith("--") && /^--[a-z-]{1,30}$/.test(before)
      ? `after ${before}`
      : "among the arguments";
    throw new UsageError(`Expected no address ${where} (it is not shown)`);
  }
}

/**
 * Turns an error of the parser into a usage error; undefined if the parser has
 * shown help.
 */
export function usageErrorOf(error: CommanderError): UsageError | undefined {
  const { code, message } = error;
  if (/^commander\.(help|helpDisplayed|version)$/.test(code)) return undefined;
  return new UsageError(textOf(code, message.replace(/^error: /, "")));
}

function textOf(code: string, message: string): string {
  const hint = /\(Did you mean (.+)\?\)\s*$/.exec(message)?.[1];
  const meant = hint === undefined ? "" : `, did you mean ${hint}?`;
  switch (code) {
    case "commander.unknownCommand":
      return meant === ""
        ? "Unknown command (it is not shown), see --help"
        : `Unknown command${meant}`;
    case "commander.unknownOption": {
      const name = /'(--?[a-z][a-z-]{0,30})[='].*/s.exec(message)?.[1];
      return `Unknown option ${name ?? "(it is not shown)"}${meant}`;
    }
    case "commander.excessArguments": {
      const [, expected, received] =
        /Expected (\d+) arguments? but got (\d+)/.exec(message) ?? [];
      return `Expected ${expected} arguments without an option's name, ` +
        `received ${received} (they are not shown)`;
    }
    case "commander.invalidArgument": {
      const [, what, rule] =
        /^(.*) (?:value|argument) '.*' is invalid\. ?(.*)$/s.exec(message) ??
          [];
      return `Bad ${what}: ${rule} (it is not shown)`;
    }
    case "commander.optionMissingArgument": {
      const name = /(--[a-z-]+)/.exec(message)?.[1];
      return `Expected a value after ${name}`;
    }
    case "commander.missingArgument": {
      const name = /'(.*)'/.exec(message)?.[1];
      return `Expected an argument ${name}, see --help`;
    }
    // The other messages name only our own definitions.
    default:
      return sentence(message);
  }
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
