/** The published command line, as a process of these tests' runtime. */
import { type ChildProcess, execFile } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(
  new URL("../../../src/cli/main.ts", import.meta.url),
);

/** How the command ended, and what it printed. */
export interface CommandResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The program and arguments that start it. */
export function commandOf(permissions: string[] = ["-A"]): string[] {
  const deno = ["run", "--no-check", ...permissions];
  return [process.execPath, ..."Deno" in globalThis ? deno : ["run"], main];
}

/** Runs a command, with the URL in its environment. */
export function runCommand(
  args: string[],
  { url, env = {}, permissions }: {
    url: string;
    env?: Record<string, string>;
    permissions?: string[];
  },
): { child: ChildProcess; ended: Promise<CommandResult> } {
  const [program, ...first] = commandOf(permissions);
  const { promise, resolve } = Promise.withResolvers<CommandResult>();
  const child = execFile(
    program!,
    [...first, ...args],
    {
      env: { ...process.env, STREAM_STORAGE_URL: url, NO_COLOR: "1", ...env },
      maxBuffer: 20_000_000,
    },
    (_, stdout, stderr) => resolve({ code: codeOf(child), stdout, stderr }),
  );
  return { child, ended: promise };
}

/** The exit code; Deno's `node:child_process` reports one above 128 as a signal. */
function codeOf({ exitCode, signalCode }: ChildProcess): number | null {
  if (exitCode !== null || signalCode === null) return exitCode;
  return 128 + constants.signals[signalCode];
}
