/** Runs the published command line as a process, with these tests' runtime. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The command line's file. */
const cliFile = fileURLToPath(
  new URL("../../../src/cli/main.ts", import.meta.url),
);

/** The command that runs it, before its own arguments. */
export const cliCommand: string[] = [
  process.execPath,
  "run",
  // Without checks of types and packages: several commands at once would wait
  // for each other's.
  ...("Deno" in globalThis
    ? ["-A", "--no-check", "--node-modules-dir=manual"]
    : []),
  cliFile,
];

/** How a command ended. */
export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A running command. */
export interface RunningCommand {
  /** Resolves when the output matches; rejects if the command ends before. */
  printed(pattern: RegExp): Promise<void>;
  interrupt(): void;
  ended: Promise<Ended>;
}

/** The environment without the settings of this machine. */
export function cleanEnvironment(
  more: Record<string, string> = {},
): Record<string, string | undefined> {
  const {
    PGPASSWORD: _password,
    STREAM_STORAGE_URL: _url,
    ...rest
  } = process.env;
  return { ...rest, PGPASSFILE: "/nonexistent/pgpass", NO_COLOR: "1", ...more };
}

/** Starts a command in a folder; URLs must go into the environment. */
export function startCli(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd?: string,
): RunningCommand {
  const [program, ...words] = cliCommand;
  const child = spawn(program!, [...words, ...args], {
    env: cleanEnvironment(env),
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd !== undefined && { cwd }),
  });
  const its = { stdout: "", stderr: "" };
  let onOutput = () => {};
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text) => {
      its[name] += text;
      onOutput();
    });
  }
  const ended = once(child, "close").then(([code]) => ({ code, ...its }));
  return {
    ended,
    interrupt: () => process.kill(child.pid!, "SIGINT"),
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        onOutput = () => {
          if (pattern.test(its.stdout + its.stderr)) resolve();
        };
        onOutput();
        void ended.then((end) =>
          reject(new Error(`Expected ${pattern}, found ${JSON.stringify(end)}`))
        );
      }),
  };
}

/** Runs a command to its end. */
export async function runCli(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd?: string,
): Promise<Ended> {
  return await startCli(args, env, cwd).ended;
}
