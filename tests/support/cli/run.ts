/** Runs the published command line as a process, with these tests' runtime. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The command line's file. */
export const cliFile = fileURLToPath(
  new URL("../../../src/cli/main.ts", import.meta.url),
);

/** The words that run it, before its own arguments. */
export const cliCommand: string[] = [
  process.execPath,
  "run",
  // As it is, for several at once would wait for each other to look at it.
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

/** A command that runs. */
export interface RunningCommand {
  /** Resolves when a text was printed that matches; rejects if it ends before. */
  printed(pattern: RegExp): Promise<void>;
  interrupt(): void;
  ended: Promise<Ended>;
}

/** The environment without what is set on this machine. */
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

/** Starts a command in a folder; the address goes by the environment. */
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
          reject(new Error(`It ended: ${JSON.stringify(end)}`))
        );
      }),
  };
}

/** Runs a command. */
export async function runCli(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd?: string,
): Promise<Ended> {
  return await startCli(args, env, cwd).ended;
}
