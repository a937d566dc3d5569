import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { root } from "../root.ts";

/** The program that {@linkcode startHost} runs, relative to the project. */
export const hostScript = "tests/support/embedded/embedded_host.ts";

/** A program with an embedded server. */
export interface Host {
  process: ChildProcess;
  /** The server's URL; rejects with the host's errors if there is none. */
  url: Promise<string>;
  ended: Promise<unknown[]>;
}

const running = new Set<ChildProcess>();

/** Kills the hosts that a failed test has left. */
export function killHosts(): void {
  for (const host of running) host.kill("SIGKILL");
}

/**
 * Runs `embedded_host.ts` in a process group of its own, with the runtime of
 * these tests, or with the runtime in `cwd` if `cwd` is a staged copy.
 */
export function startHost(
  args: string[],
  options: { cwd?: string; uid?: number; gid?: number } = {},
): Host {
  const { cwd = root, ...user } = options;
  const staged = join(cwd, "runtime");
  const isStaged = existsSync(staged);
  const host = spawn(
    isStaged ? staged : process.execPath,
    ["run", ...("Deno" in globalThis ? ["-A"] : []), hostScript, ...args],
    {
      ...user,
      cwd,
      env: isStaged
        // The copy's owner may have no access to the tests' caches.
        ? { ...process.env, HOME: cwd, DENO_DIR: join(cwd, ".deno") }
        : process.env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  running.add(host);
  const ended = once(host, "exit").finally(() => running.delete(host));
  let complaints = "";
  host.stderr?.on("data", (data) => complaints += data);
  const url = new Promise<string>((resolve, reject) => {
    host.stdout?.once("data", (data) => resolve(String(data).trim()));
    host.once("close", () => reject(new Error(`No URL: ${complaints}`)));
  });
  url.catch(() => {}); // some tests do not await it
  return { process: host, url, ended };
}
