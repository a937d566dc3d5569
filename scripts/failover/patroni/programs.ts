/**
 * The programs of a cluster. Each runs as an unprivileged user, writes a log
 * into the directory of the run, and has that directory in its arguments. By
 * these arguments all programs are found and ended after the run, even if the
 * harness was killed.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import {
  appendFile,
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import {
  chooseServerUser,
  type ServerUser,
} from "../../../src/embedded/server_user.ts";

const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** How many lines of a log are shown after a failure. */
const linesOfLog = 20;

/**
 * Where Debian installs PostgreSQL's programs: a directory for each version.
 */
const versions = "/usr/lib/postgresql";

/**
 * Runs until its input ends, then ends the programs. Patroni comes first,
 * because it would restart its server. A server gets a moment to free its
 * shared memory.
 */
const undertaker = `
read -r _
ours() {
  for at in /proc/[0-9]*; do
    pid=\${at#/proc/}
    tr '\\0' ' ' <"$at/cmdline" 2>/dev/null | grep -qF -- "$DIR" && echo "$pid"
  done
}
for pid in $(ours); do
  case $(tr '\\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in
    */bin/postgres*) ;;
    *) kill -KILL "$pid" 2>/dev/null ;;
  esac
done
for pid in $(ours); do kill -CONT "$pid"; kill -QUIT "$pid"; done 2>/dev/null
n=0
while [ -n "$(ours)" ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
for pid in $(ours); do kill -KILL "$pid"; done 2>/dev/null
[ ! -e "$DIR/segments" ] || while read -r id; do ipcrm -m "$id"; done \\
  <"$DIR/segments" 2>/dev/null
[ -n "$KEEP" ] && exit
n=0
while ! rm -rf "$DIR" && [ $n -lt 20 ]; do sleep 0.2; n=$((n + 1)); done
`;

/** A directory, and the programs that run in it; see the file's head. */
export class Programs implements AsyncDisposable {
  /**
   * Belongs to this process's user, so that no program can redirect the logs.
   */
  readonly dir: string;
  readonly #user: ServerUser;
  readonly #undertaker: ChildProcess;

  private constructor(dir: string, user: ServerUser, keep: boolean) {
    this.dir = dir;
    this.#user = user;
    this.#undertaker = spawn(
      "/bin/sh",
      ["-c", undertaker],
      {
        // Not in the arguments, where the script would find itself.
        env: { PATH: path, DIR: dir, KEEP: keep ? "yes" : "" },
        detached: true,
        stdio: ["pipe", "ignore", "ignore"],
      },
    );
  }

  /** Makes the directory. */
  static async in(name: string, keep: boolean): Promise<Programs> {
    const user = await chooseServerUser();
    const dir = await mkdtemp(join(tmpdir(), name));
    await chmod(dir, 0o755);
    return new Programs(dir, user, keep);
  }

  /** Makes a directory that belongs to the programs' user. */
  async makeDirectory(name: string): Promise<string> {
    const made = join(this.dir, name);
    await mkdir(made, { mode: 0o700 });
    if (this.#user) await chown(made, this.#user.uid, this.#user.gid);
    return made;
  }

  /** Starts a program; `name` is the name of its log. */
  start(name: string, command: string, args: readonly string[]): Program {
    const log = openSync(join(this.dir, `${name}.log`), "a");
    try {
      const child = spawn(command, args, {
        ...this.#user,
        cwd: "/",
        env: { PATH: path, TZ: "UTC", LANG: "C.UTF-8" },
        detached: true, // Ctrl-C ends this process, whose end stops the program
        stdio: ["ignore", log, log],
      });
      return new Program(child);
    } finally {
      closeSync(log);
    }
  }

  /**
   * Notes shared memory that must be removed, because its server will be
   * killed.
   */
  async inherit(segment: string): Promise<void> {
    await appendFile(join(this.dir, "segments"), `${segment}\n`);
  }

  /** Returns the last lines of a log. */
  async endOf(name: string): Promise<string> {
    const text = await readFile(join(this.dir, `${name}.log`), "utf8")
      .catch(() => "");
    const lines = text.split("\n").slice(-linesOfLog);
    return [`${name}:`, ...lines].join("\n");
  }

  /** Runs a program until it ends. Resolves with its output. */
  async run(command: string, args: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(command, args, {
      ...this.#user,
      cwd: "/",
      env: { PATH: path, TZ: "UTC", LANG: "C.UTF-8", HOME: this.dir },
    });
    return stdout;
  }

  /**
   * Ends all programs with the directory in their arguments, and removes it.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#undertaker, "exit");
    this.#undertaker.stdin?.end();
    await ended;
  }
}

/** A running program. */
export class Program {
  /** Whether it has ended, for whatever reason. */
  isEnded = false;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  /** Takes a child that was just started. */
  constructor(child: ChildProcess) {
    this.#child = child;
    // A program that cannot be started emits no exit, only an error.
    this.#ended = Promise.race([
      new Promise((resolve) => child.once("exit", resolve)),
      new Promise((resolve) => child.once("error", resolve)),
    ]).then(() => this.isEnded = true);
  }

  /** Sends the signal, unless it has ended. */
  signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid !== undefined) signalTo(pid, signal);
  }

  /** Kills it with SIGKILL. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#ended;
  }
}

/** Sends the signal, unless the process has ended. */
export function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has just ended.
  }
}

/** Finds the directory of the newest PostgreSQL that Debian has installed. */
export async function postgresBinaries(): Promise<string> {
  const found = existsSync(versions) ? await readdir(versions) : [];
  const newest =
    found.map(Number).filter((version) =>
      existsSync(join(versions, String(version), "bin", "postgres"))
    ).sort((a, b) => b - a)[0];
  if (newest === undefined) {
    throw new Error(`Expected Debian's postgresql in ${versions}`);
  }
  return join(versions, String(newest), "bin");
}

/** Fails unless Debian's packages are installed. */
export function needPrograms(commands: readonly string[]): void {
  for (const command of commands) {
    const places = path.split(":").map((place) => join(place, command));
    if (places.some((place) => existsSync(place))) continue;
    throw new Error(
      `Expected ${command}; install patroni, etcd-server, haproxy and postgresql`,
    );
  }
}
