/**
 * A server of Debian's PostgreSQL in its own network namespace. This program
 * reaches the server through its socket directory, so a cut network does not
 * stop the program.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { chown, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { writeAs } from "../../tests/support/servers/write_as.ts";
import type { Account } from "../../tests/support/servers/debian.ts";
import { inNamespace, processesIn } from "./network.ts";

/** The port of every server; their addresses differ. */
export const port = 5432;
/** The only role. The network is private, so the role has no password. */
export const role = "failover";

/** Where a server is. */
export interface Place {
  namespace: string;
  address: string;
  /** The directory of the data and the socket; the log is next to it. */
  dir: string;
  programs: string;
  account: Account;
}

const limitMs = 30_000;

/** See the file's head. */
export class Server {
  readonly place: Place;
  #process: ChildProcess | undefined;

  constructor(place: Place) {
    this.place = place;
  }

  /** The data directory. */
  get data(): string {
    return join(this.place.dir, "data");
  }

  /** A URL that does not use the network. */
  get url(): string {
    const { dir } = this.place;
    return `postgresql://${role}@/postgres?host=${dir}&sslmode=disable`;
  }

  /** Makes the directory, without data. */
  async prepare(): Promise<void> {
    const { dir, account } = this.place;
    await mkdir(dir);
    await chown(dir, account.uid, account.gid);
  }

  /** Makes an empty cluster that trusts all clients with these addresses. */
  async initialize(range: string): Promise<void> {
    await this.run("initdb", [
      ...["-D", this.data, "-U", role, "-A", "trust", "-E", "UTF8"],
      ...["--locale=C", "--no-sync", "--no-instructions"],
    ]);
    await writeAs(
      this.place.account,
      join(this.data, "pg_hba.conf"),
      `host all all ${range} trust\nhost replication all ${range} trust\n`,
    );
  }

  /**
   * Starts the server with these settings. Resolves when it takes connections.
   */
  async start(settings: Readonly<Record<string, string>>): Promise<void> {
    const { namespace, address, dir, programs, account } = this.place;
    const all = {
      ...settings,
      listen_addresses: address,
      port: String(port),
      unix_socket_directories: dir,
    };
    const args = Object.entries(all).flatMap((pair) => ["-c", pair.join("=")]);
    const [program = "", ...rest] = [
      ...inNamespace(namespace),
      ...["setpriv", `--reuid=${account.uid}`, `--regid=${account.gid}`],
      ...["--clear-groups", join(programs, "postgres"), "-D", this.data],
      ...args,
    ];
    // Not in the server's directory, where its user could put a link in its
    // place.
    const log = openSync(`${dir}.log`, "a");
    this.#process = spawn(program, rest, {
      cwd: "/",
      env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", TZ: "UTC", LC_ALL: "C" },
      detached: true, // Ctrl-C ends this process, and the janitor the server
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    await this.#ready(this.#process);
  }

  /**
   * Makes a fast shutdown, which ends sessions and sends everything to the
   * standby.
   */
  async stop(): Promise<void> {
    const ended = once(this.#process!, "exit");
    this.#signal([this.#process!.pid!], "SIGINT");
    await ended;
  }

  /**
   * Kills all processes of the server at once, which send their clients
   * nothing.
   */
  async kill(): Promise<void> {
    await this.freeze();
    this.#signal(await this.#processes(), "SIGKILL");
    await withinLimit(
      "the server's end",
      async () => (await this.#processes()).length === 0,
    );
  }

  /** Freezes all processes of the server. */
  async freeze(): Promise<void> {
    // The parent comes first, because it would start others.
    this.#signal([this.#process!.pid!], "SIGSTOP");
    this.#signal(await this.#processes(), "SIGSTOP");
  }

  /** Lets a frozen server go on. */
  async thaw(): Promise<void> {
    this.#signal(await this.#processes(), "SIGCONT");
  }

  /** Runs SQL on a new session. Resolves with the rows. */
  async query(sql: string): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({
      host: this.place.dir,
      port,
      user: role,
      database: "postgres",
      connectionTimeoutMillis: limitMs,
      query_timeout: limitMs,
    });
    client.on("error", () => {}); // the query fails, too
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }

  /** Waits until the condition holds. */
  async until(condition: string): Promise<void> {
    await withinLimit(condition, async () => {
      const [row] = await this.query(`SELECT (${condition}) AS holds`);
      return row?.holds === true;
    });
  }

  /** Changes a setting, for new and for running sessions. */
  async set(name: string, value: string): Promise<void> {
    await this.query(`ALTER SYSTEM SET ${name} = '${value}'`);
    await this.query("SELECT pg_reload_conf()");
  }

  /** Runs one of the server's programs as its account. */
  async run(program: string, args: readonly string[]): Promise<void> {
    const { programs, account } = this.place;
    await promisify(execFile)(join(programs, program), [...args], {
      ...account,
      cwd: "/",
      env: { PATH: "/usr/bin:/bin", TZ: "UTC", LC_ALL: "C" },
    });
  }

  #processes(): Promise<number[]> {
    return processesIn(this.place.namespace);
  }

  #signal(pids: readonly number[], signal: NodeJS.Signals): void {
    for (const pid of pids) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has just ended.
      }
    }
  }

  async #ready(child: ChildProcess): Promise<void> {
    await withinLimit(`a server in ${this.place.dir}`, async () => {
      const path = join(this.data, "postmaster.pid");
      const lines = (await readFile(path, "utf8").catch(() => "")).split("\n");
      return Number(lines[0]) === child.pid && lines[7]?.trim() === "ready";
    });
  }
}

async function withinLimit(
  what: string,
  isSo: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!await isSo()) {
    if (performance.now() > deadline) {
      throw new Error(`Expected within ${limitMs} ms: ${what}`);
    }
    await delay(5);
  }
}
