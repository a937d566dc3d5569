/**
 * Runs a server of Debian's package `postgresql`, so that the tests can run on
 * another version than the embedded one. The server has a temporary data
 * directory, and ends at the latest when this process ends.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chown, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { startOnLoopback } from "../src/embedded/loopback_port.ts";
import {
  type Account,
  serverAccount,
  serverPrograms,
} from "../tests/support/servers/debian.ts";

/** How long the server may take to start, in milliseconds. */
const startLimitMs = 60_000;

/**
 * Runs the server until the input ends, which also happens when this process
 * ends.
 */
const script = `
server=$1
dir=$2
shift 2
exec 3<&0 </dev/null
"$server" -D "$dir/data" "$@" >"$dir/log" 2>&1 3<&- &
pid=$!
read -r _ <&3
kill -s INT "$pid"
wait "$pid"
`;

/** A running server; see the file's head. */
export class DebianServer implements AsyncDisposable {
  /** The URL of a superuser. */
  readonly url: string;
  readonly #dir: string;
  readonly #shell: ChildProcess;

  private constructor(url: string, dir: string, shell: ChildProcess) {
    this.url = url;
    this.#dir = dir;
    this.#shell = shell;
  }

  /** Starts the newest installed version with these settings. */
  static async start(
    settings: Readonly<Record<string, string>>,
  ): Promise<DebianServer> {
    const programs = serverPrograms();
    if (programs === undefined) {
      throw new Error(
        "Debian's server is not installed: apt-get install postgresql",
      );
    }
    // PostgreSQL refuses to run as root.
    const account = process.geteuid?.() === 0
      ? await serverAccount()
      : undefined;
    const dir = await mkdtemp(join(tmpdir(), "stream-storage-debian-"));
    try {
      const password = randomBytes(24).toString("hex");
      await initialize(programs, dir, account, password);
      return await startOnLoopback(undefined, async (port) => {
        const shell = run(programs, dir, account, { ...settings, port });
        await ready(dir, shell);
        const url = `postgresql://postgres:${password}@127.0.0.1:${port}`;
        return new DebianServer(`${url}/postgres`, dir, shell);
      });
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw error;
    }
  }

  /** Ends the server and removes its data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#shell);
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/**
 * Its own working directory and environment, because root's may be closed to
 * it.
 */
const surroundings = {
  cwd: "/",
  env: { PATH: "/usr/bin:/bin", TZ: "UTC", LC_ALL: "C" },
};

async function initialize(
  programs: string,
  dir: string,
  account: Account | undefined,
  password: string,
): Promise<void> {
  const file = join(dir, "password");
  await writeFile(file, password, { mode: 0o600 });
  if (account) {
    // The directory comes last, because its user may then put links into it.
    for (const path of [file, dir]) {
      await chown(path, account.uid, account.gid);
    }
  }
  await promisify(execFile)(join(programs, "initdb"), [
    ...["-D", join(dir, "data"), "-U", "postgres", "--pwfile", file],
    ...["-A", "scram-sha-256", "-E", "UTF8", "--locale=C"],
    ...["--no-sync", "--no-instructions"],
  ], { ...surroundings, ...account });
  await rm(file);
}

function run(
  programs: string,
  dir: string,
  account: Account | undefined,
  settings: Readonly<Record<string, string | number>>,
): ChildProcess {
  const all = {
    ...settings,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
  };
  const args = Object.entries(all).flatMap((pair) => ["-c", pair.join("=")]);
  const server = join(programs, "postgres");
  const shell = spawn(
    "/bin/sh",
    ["-c", script, "debian-server", server, dir, ...args],
    {
      ...surroundings,
      ...account,
      detached: true, // Ctrl-C ends the tests, and their end stops the server
      stdio: ["pipe", "ignore", "ignore"],
    },
  );
  shell.stdin?.on("error", () => {}); // its exit is noticed anyway
  return shell;
}

async function end(shell: ChildProcess): Promise<void> {
  if (shell.exitCode !== null || shell.signalCode !== null) return;
  const ended = once(shell, "exit");
  shell.stdin?.end();
  await ended;
}

/** Resolves when the server takes connections. */
async function ready(dir: string, shell: ChildProcess): Promise<void> {
  const deadline = performance.now() + startLimitMs;
  let isEnded = false;
  shell.once("exit", () => isEnded = true);
  for (;;) {
    const state = await textOf(join(dir, "data", "postmaster.pid"));
    if (state.split("\n")[7]?.trim() === "ready") return;
    if (isEnded || performance.now() > deadline) break;
    await delay(20);
  }
  await end(shell);
  throw new Error(
    `The server does not start:\n${await textOf(join(dir, "log"))}`,
  );
}

/** Reads a file; returns an empty text if there is none. */
async function textOf(path: string): Promise<string> {
  return await readFile(path, "utf8").catch(() => "");
}
