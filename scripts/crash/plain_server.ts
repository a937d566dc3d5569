/**
 * A PostgreSQL server as it is: the embedded binaries on a cluster that is
 * there, with the settings that are given and nothing else.
 * `startEmbeddedPostgres` gives each cluster a new password, which a standby
 * can't take, and listens on 127.0.0.1 alone, where no other network namespace
 * comes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  locateBinaries,
  prepareBinaries,
} from "../../src/embedded/binaries.ts";
import { startOnLoopback } from "../../src/embedded/loopback_port.ts";
import {
  chooseServerUser,
  type ServerUser,
} from "../../src/embedded/server_user.ts";

/** What a {@linkcode PlainServer} runs. */
export interface PlainServerOptions {
  /** A cluster that no server uses; it stays, and stays the caller's. */
  dataDir: string;
  /** Where it listens besides 127.0.0.1. */
  addresses?: readonly string[];
  /** Settings by name. */
  settings?: Readonly<Record<string, string>>;
}

const startLimitMs = 60_000;

/**
 * Runs the server until its input ends, which it does with our process at the
 * latest. Then every session is ended, work under way is rolled back, and the
 * directory of the run is removed.
 */
const script = `
run=$1
shift
exec 3<&0 </dev/null
LD_LIBRARY_PATH=$run/lib:$run/native/lib "$run/native/bin/postgres" "$@" \\
  >"$run/log" 2>&1 3<&- &
server=$!
read -r _ <&3
kill -s INT "$server"
wait "$server"
rm -rf "$run"
`;

/** A running server; see the file's head. */
export class PlainServer implements AsyncDisposable {
  /** The same on every address. */
  readonly port: number;
  readonly #runDir: string;
  readonly #shell: ChildProcess;
  readonly #ended: Promise<unknown>;
  #isEnded = false;

  private constructor(
    options: PlainServerOptions,
    runDir: string,
    user: ServerUser,
    port: number,
  ) {
    const { dataDir, addresses = [], settings = {} } = options;
    const all = {
      ...settings,
      listen_addresses: ["127.0.0.1", ...addresses].join(),
      port: String(port),
      unix_socket_directories: "",
      external_pid_file: join(runDir, "server.pid"),
    };
    const args = Object.entries(all).flatMap((pair) => ["-c", pair.join("=")]);
    this.port = port;
    this.#runDir = runDir;
    this.#shell = spawn(
      "/bin/sh",
      ["-c", script, "plain-server", runDir, "-D", dataDir, ...args],
      {
        ...user,
        cwd: "/",
        env: { PATH: "/usr/bin:/bin", TZ: "UTC" },
        detached: true, // Ctrl-C is for us, and our end ends it
        stdio: ["pipe", "ignore", "ignore"],
      },
    );
    this.#shell.stdin?.on("error", () => {}); // its end tells
    this.#ended = once(this.#shell, "exit").then(() => this.#isEnded = true);
  }

  /** Resolves when the server takes connections, as a standby too. */
  static async start(options: PlainServerOptions): Promise<PlainServer> {
    const runDir = await mkdtemp(join(tmpdir(), "stream-storage-server-"));
    try {
      // Root's server runs as another user, who owns the data.
      const owner = await stat(options.dataDir);
      const user = await chooseServerUser() &&
        { uid: owner.uid, gid: owner.gid };
      await chmod(runDir, 0o755);
      if (user) await chown(runDir, user.uid, user.gid);
      await prepareBinaries(await locateBinaries(), runDir, user);
      return await startOnLoopback(undefined, async (port) => {
        const server = new PlainServer(options, runDir, user, port);
        await server.#ready(options.dataDir);
        return server;
      });
    } catch (error) {
      await rm(runDir, { recursive: true, force: true });
      throw error;
    }
  }

  /** Ends the server; the data stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    await rm(this.#runDir, { recursive: true, force: true });
  }

  async #end(): Promise<void> {
    this.#shell.stdin?.end();
    await this.#ended;
  }

  /** The first file is this server's own, so the second one is, too. */
  async #ready(dataDir: string): Promise<void> {
    const deadline = performance.now() + startLimitMs;
    for (;;) {
      const isStarted = await textOf(join(this.#runDir, "server.pid")) !== "";
      const state = await textOf(join(dataDir, "postmaster.pid"));
      if (isStarted && state.split("\n")[7]?.trim() === "ready") return;
      if (this.#isEnded || performance.now() > deadline) break;
      await delay(5);
    }
    const log = await textOf(join(this.#runDir, "log"));
    await this.#end();
    throw new Error(`The server does not start:\n${log}`);
  }
}

/** Empty while there is no such file. */
async function textOf(path: string): Promise<string> {
  return await readFile(path, "utf8").catch(() => "");
}
