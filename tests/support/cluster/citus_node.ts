/**
 * One server of a Citus cluster. It can be stopped, killed and restarted, and a
 * standby can take its place. Its port always stays the same, because the other
 * servers know it by its port.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { childrenOf, freePort, gone, kill } from "../servers/crash_server.ts";
import type { Account } from "../servers/debian.ts";
import { queryOnce } from "../database.ts";

/** Where a node's programs and files are. */
export interface CitusPlace {
  /** The directory of the server's programs. */
  programs: string;
  /** A directory of the cluster's own, which the account may change. */
  base: string;
  /** The account that runs the servers; undefined: the one of this process. */
  account: Account | undefined;
  /** Settings of every server. */
  settings: Readonly<Record<string, string>>;
}

/** How long a server may take to start, or to reach a state, in ms. */
const limitMs = 60_000;

/** Runs the server until the script's input ends, at the latest with our process. */
const script = `
server=$1 data=$2 log=$3
shift 3
exec 3<&0 </dev/null
"$server" -D "$data" "$@" >>"$log" 2>&1 3<&- &
pid=$!
read -r _ <&3
kill -s QUIT "$pid"
wait "$pid"
`;

/** The server's programs get neither root's folder nor our environment. */
const surroundings = {
  cwd: "/",
  env: { PATH: "/usr/bin:/bin", TZ: "UTC", LC_ALL: "C" },
};

/** See the file's head. */
export class CitusNode implements AsyncDisposable {
  /** The name of its directory: "coordinator", "worker_1", … */
  readonly name: string;
  /** Its port on 127.0.0.1. */
  readonly port: number;
  readonly #place: CitusPlace;
  #run: Run | undefined;
  #data: string;
  #standby: Run | undefined;
  #standbys = 0;

  private constructor(place: CitusPlace, name: string, port: number) {
    this.#place = place;
    this.name = name;
    this.port = port;
    this.#data = join(place.base, name);
  }

  /** Makes an empty server and starts it, with Citus unless it is plain. */
  static async start(
    place: CitusPlace,
    name: string,
    { isPlain = false }: { isPlain?: boolean } = {},
  ): Promise<CitusNode> {
    const node = new CitusNode(place, name, await freePort());
    await node.#program("initdb", [
      ...["-D", node.#data, "-U", "postgres", "-A", "trust", "-E", "UTF8"],
      ...["--locale=C", "--no-sync", "--no-instructions"],
    ]);
    await node.restart();
    if (!isPlain) await node.query("CREATE EXTENSION citus");
    return node;
  }

  /** A superuser's URL. */
  get url(): string {
    return `postgresql://postgres@127.0.0.1:${this.port}/postgres?sslmode=disable`;
  }

  /** The server's log so far. */
  get log(): Promise<string> {
    return textOf(`${this.#data}.log`);
  }

  /** Runs SQL on a session of its own; returns the rows. */
  query(sql: string): Promise<Record<string, unknown>[]> {
    return queryOnce(this.url, sql);
  }

  /** Polls until the condition holds. */
  async until(condition: string): Promise<void> {
    await untilTrue(this.url, condition);
  }

  /** Starts the stopped or dead server again, on the same data and port. */
  async restart(): Promise<void> {
    this.#run = await Run.start(this.#place, this.#data, this.port);
  }

  /** Makes a fast shutdown, which ends sessions and rolls their work back. */
  async stop(): Promise<void> {
    await this.#run?.stop("SIGINT");
  }

  /** Kills every process of the server at once. */
  async kill(): Promise<void> {
    await this.#run?.stop("SIGKILL");
  }

  /**
   * Starts a standby. Resolves when it follows; from then on commits wait for it
   * unless it is asynchronous.
   */
  async startStandby({ asynchronous = false } = {}): Promise<void> {
    const data = `${this.#data}_standby_${++this.#standbys}`;
    await this.#program("pg_basebackup", [
      ...["-h", "127.0.0.1", "-p", String(this.port), "-U", "postgres"],
      ...["-D", data, "-X", "stream", "-c", "fast", "-R", "--no-sync"],
    ]);
    this.#standby = await Run.start(this.#place, data, await freePort());
    await this.until(
      "EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')",
    );
    if (asynchronous) return;
    await this.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
    await this.query("SELECT pg_reload_conf()");
    await this.until(
      "EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')",
    );
  }

  /**
   * Kills the server for good, starts its standby on the same port and promotes
   * it. Resolves when the standby takes writes.
   */
  async failOver(): Promise<void> {
    const standby = this.#standby;
    if (!standby) throw new Error(`Expected a standby of ${this.name}`);
    this.#standby = undefined;
    await this.kill();
    await standby.stop("SIGINT");
    this.#data = standby.data;
    await this.restart();
    await this.query("SELECT pg_promote()");
    await this.until("NOT pg_is_in_recovery()");
    // It has the old server's settings, but no standby that commits could await.
    await this.query("ALTER SYSTEM RESET synchronous_standby_names");
    await this.query("SELECT pg_reload_conf()");
  }

  /** Ends the server and its standby; the data go with the cluster. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#standby?.stop("SIGQUIT");
    await this.#run?.stop("SIGQUIT");
  }

  async #program(name: string, args: readonly string[]): Promise<void> {
    const { programs, account } = this.#place;
    await promisify(execFile)(join(programs, name), [...args], {
      ...surroundings,
      ...account,
    });
  }
}

/** One run of a server, from its start to its end. */
class Run {
  readonly data: string;
  readonly #shell: ChildProcess;

  private constructor(data: string, shell: ChildProcess) {
    this.data = data;
    this.#shell = shell;
  }

  /** Resolves when the server takes connections, also as a standby. */
  static async start(
    place: CitusPlace,
    data: string,
    port: number,
  ): Promise<Run> {
    const settings = {
      ...place.settings,
      listen_addresses: "127.0.0.1",
      port: String(port),
      unix_socket_directories: "",
    };
    // A killed server leaves this file, which would pass for the new server's.
    await rm(join(data, "postmaster.pid"), { force: true });
    const shell = spawn("/bin/sh", [
      ...["-c", script, "citus-node", join(place.programs, "postgres")],
      ...[data, `${data}.log`],
      ...Object.entries(settings).flatMap((pair) => ["-c", pair.join("=")]),
    ], {
      ...surroundings,
      ...place.account,
      detached: true, // Ctrl-C must reach only the tests, whose end ends it
      stdio: ["pipe", "ignore", "ignore"],
    });
    shell.stdin?.on("error", () => {}); // the shell's exit is noticed, too
    const run = new Run(data, shell);
    if (await run.#isReady()) return run;
    await run.stop("SIGQUIT");
    throw new Error(`A server does not start:\n${await textOf(`${data}.log`)}`);
  }

  /** Ends the server by this signal; SIGKILL goes to all of its processes. */
  async stop(signal: "SIGINT" | "SIGQUIT" | "SIGKILL"): Promise<void> {
    const pid = Number((await this.#state())[0]);
    if (pid > 0) {
      // The parent stops first, or it would start processes and inform clients.
      if (signal === "SIGKILL") kill(pid, "SIGSTOP");
      const family = [pid, ...await childrenOf(pid)];
      if (signal === "SIGKILL") family.forEach((each) => kill(each, signal));
      else kill(pid, signal);
      await gone(family);
    }
    const { exitCode, signalCode } = this.#shell;
    if (exitCode !== null || signalCode !== null) return;
    const ended = once(this.#shell, "exit");
    this.#shell.stdin?.end();
    await ended;
  }

  async #isReady(): Promise<boolean> {
    const deadline = performance.now() + limitMs;
    let isEnded = false;
    this.#shell.once("exit", () => isEnded = true);
    while (!isEnded && performance.now() < deadline) {
      const state = (await this.#state())[7]?.trim() ?? "";
      if (state === "ready") return true;
      await delay(20);
    }
    return false;
  }

  /** The lines of postmaster.pid; none if the server does not run. */
  async #state(): Promise<string[]> {
    return (await textOf(join(this.data, "postmaster.pid"))).split("\n");
  }
}

async function untilTrue(url: string, condition: string): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const [row] = await queryOnce(url, `SELECT (${condition}) AS holds`);
    if (row?.holds === true) return;
    if (performance.now() > deadline) {
      throw new Error(`Expected within ${limitMs} ms: ${condition}`);
    }
    await delay(20);
  }
}

/** The file's text; empty if there is no file. */
async function textOf(path: string): Promise<string> {
  return await readFile(path, "utf8").catch(() => "");
}
