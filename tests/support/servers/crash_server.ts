/**
 * A PostgreSQL server that can crash and restart. Data, port and login stay the
 * same, so that a store can connect to it again.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from "../../../src/embedded/mod.ts";
import { queryOnce } from "../database.ts";

/** How a {@linkcode CrashServer} starts. */
export interface CrashServerOptions {
  /**
   * Settings of the server. With the default ones, commits wait for the disk.
   */
  settings?: Record<string, string>;
}

const login = "crash";

/** A server that can crash and restart; see the file's head. */
export class CrashServer implements AsyncDisposable {
  readonly #base: string;
  readonly #port: number;
  readonly #settings: Record<string, string>;
  #running: EmbeddedPostgres | undefined;

  private constructor(
    base: string,
    port: number,
    settings: Record<string, string>,
  ) {
    this.#base = base;
    this.#port = port;
    this.#settings = settings;
  }

  /**
   * Makes a new cluster in a temporary directory and starts it. Its login
   * survives every crash.
   */
  static async start(options: CrashServerOptions = {}): Promise<CrashServer> {
    const base = await mkdtemp(join(tmpdir(), "stream-storage-crash-"));
    // If this process is root's, the server's user needs access to the
    // directory.
    await chmod(base, 0o755);
    const { settings = {} } = options;
    const server = new CrashServer(base, await freePort(), settings);
    try {
      await server.restart();
      await queryOnce(
        server.#running!.url,
        `CREATE ROLE ${login} SUPERUSER LOGIN PASSWORD '${login}'; CHECKPOINT`,
      );
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Copies the data of the other server, as a standby would have it. Both must
   * be stopped. Afterwards they are independent.
   */
  async copy(other: CrashServer): Promise<void> {
    await rm(this.dataDir, { recursive: true });
    // `cp` keeps the files' owners; Node's copy function does not.
    await promisify(execFile)("cp", ["-a", other.dataDir, this.dataDir]);
  }

  /** The URL, which stays the same after every restart. */
  get url(): string {
    return `postgresql://${login}:${login}@127.0.0.1:${this.#port}/postgres?sslmode=disable`;
  }

  /** The port on 127.0.0.1. */
  get port(): number {
    return this.#port;
  }

  /** The data directory. */
  get dataDir(): string {
    return join(this.#base, "data");
  }

  /** Kills all processes of the server with SIGKILL at the same time. */
  async crash(): Promise<void> {
    const postmaster = await this.#postmaster();
    // The parent stops first, or it would start processes and inform the
    // clients.
    kill(postmaster, "SIGSTOP");
    const family = [postmaster, ...await childrenOf(postmaster)];
    for (const pid of family) kill(pid, "SIGKILL");
    await gone(family);
  }

  /** Makes a fast shutdown, which ends sessions and rolls their work back. */
  async stop(): Promise<void> {
    const postmaster = await this.#postmaster();
    const family = [postmaster, ...await childrenOf(postmaster)];
    kill(postmaster, "SIGINT");
    await gone(family);
  }

  /** Starts the server again, on the same data and port. */
  async restart(): Promise<void> {
    // The old server's shell ends later and disturbs nothing.
    void this.#running?.close().catch(() => {});
    this.#running = await startEmbeddedPostgres({
      dataDir: this.dataDir,
      port: this.#port,
      settings: this.#settings,
    });
  }

  /** Runs SQL on a session of its own; the rows of the last statement. */
  query(sql: string): Promise<Record<string, unknown>[]> {
    return queryOnce(this.url, sql);
  }

  /**
   * Changes a setting to a value as the server shows it. Resolves when the
   * server uses it, because the server reads its files a moment after the
   * request.
   */
  async set(name: string, value: string): Promise<void> {
    await this.query(`ALTER SYSTEM SET ${name} = '${value}'`);
    await this.query("SELECT pg_reload_conf()");
    const shown = `SELECT current_setting('${name}') AS value`;
    while ((await this.query(shown))[0]?.value !== value);
  }

  /** Ends the server and removes the data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running?.close();
    await rm(this.#base, { recursive: true, force: true });
  }

  async #postmaster(): Promise<number> {
    const path = join(this.dataDir, "postmaster.pid");
    return Number((await readFile(path, "utf8")).split("\n")[0]);
  }
}

/**
 * Finds a free port below those that systems give to clients. If nothing
 * listens on one of the latter, a client that connects to it may get that very
 * port and so connect to itself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const isFree = await new Promise<boolean>((resolve) => {
      const probe = createServer().once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

/** Sends the signal, and ignores that a process has just ended. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has just ended.
  }
}

/** Waits until all the processes have ended. */
export async function gone(pids: readonly number[]): Promise<void> {
  const wanted = new Set(pids);
  while ((await processes()).some(({ pid }) => wanted.has(pid))) await delay(2);
}

/** Lists the processes that the parent has started. */
export async function childrenOf(parent: number): Promise<number[]> {
  return (await processes()).filter(({ ppid }) => ppid === parent)
    .map(({ pid }) => pid);
}

/** Lists all processes that have not ended. */
async function processes(): Promise<{ pid: number; ppid: number }[]> {
  const lines = existsSync("/proc/self/stat")
    ? await statsOfProc()
    : (await promisify(execFile)("ps", ["-A", "-o", "pid=,stat=,ppid="])).stdout
      .split("\n").map((line) => line.trim().split(/\s+/));
  return lines.filter(([, state]) => state !== undefined && state[0] !== "Z")
    .map(([pid, , ppid]) => ({ pid: Number(pid), ppid: Number(ppid) }));
}

/**
 * Reads pid, state and parent. A process's name may contain blanks and
 * brackets.
 */
async function statsOfProc(): Promise<string[][]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")),
  );
  return stats.map((stat, i) => [
    pids[i]!,
    ...stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(0, 2),
  ]).filter(([, state]) => state);
}
