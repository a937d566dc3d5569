/**
 * A test's own PgBouncer in front of the tests' server, on a free port of the
 * loopback address, with a configuration of its own.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import {
  freePort,
  takesConnections,
  throughPort,
} from "../network/listener.ts";

/** PgBouncer's settings by name, besides those that every test needs. */
export type PgBouncerSettings = Readonly<Record<string, string | number>>;

/** A running PgBouncer. */
export interface PgBouncer extends AsyncDisposable {
  /** The server's URL through it. */
  url: string;
  /** The URL of its console, the database `pgbouncer`. */
  consoleUrl: string;
  /** Kills it, also in the middle of work, and restarts it on the same port. */
  restart(): Promise<void>;
  /** Kills it; its port is closed afterwards. */
  kill(): Promise<void>;
}

/** The program, which `.ci/run` installs. */
const program = process.env.STREAM_STORAGE_PGBOUNCER ?? "pgbouncer";

/** PgBouncer's version as a number: 1.18 is 118. */
export async function pgBouncerVersion(): Promise<number> {
  const { stdout } = await promisify(execFile)(program, ["--version"], {
    env: environment,
  }).catch((error) => {
    throw new Error(
      "Expected PgBouncer on the PATH or at STREAM_STORAGE_PGBOUNCER: " +
        "apt-get install pgbouncer",
      { cause: error },
    );
  });
  const [, major, minor] = /PgBouncer (\d+)\.(\d+)/.exec(stdout) ?? [];
  return Number(major) * 100 + Number(minor);
}

/** Debian installs it outside of an ordinary user's path. */
const environment = {
  ...process.env,
  PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin`,
};

/** Starts PgBouncer in front of the server at the URL. */
export async function startPgBouncer(
  serverUrl: string,
  settings: PgBouncerSettings = {},
): Promise<PgBouncer> {
  await pgBouncerVersion(); // throws if PgBouncer is missing
  const directory = await mkdtemp(join(tmpdir(), "pgbouncer-"));
  const user = serverUser();
  const port = await freePort();
  const ini = join(directory, "pgbouncer.ini");
  await writeFile(ini, configuration(serverUrl, port, directory, settings));
  const server = new URL(serverUrl);
  await writeFile(
    join(directory, "users.txt"),
    `"${server.username}" "${decodeURIComponent(server.password)}"\n`,
  );
  if (user !== undefined) {
    // The directory comes last: afterwards its user could put links into it.
    for (const path of [ini, join(directory, "users.txt"), directory]) {
      await chown(path, user.uid, user.gid);
    }
  }
  let child = await run(ini, port, user);
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  const urlOf = (database: string) => {
    const url = new URL(throughPort(serverUrl, port));
    url.pathname = database;
    return url.href;
  };
  return {
    url: urlOf(server.pathname),
    consoleUrl: urlOf("/pgbouncer"),
    kill,
    restart: async () => {
      await kill();
      child = await run(ini, port, user);
    },
    [Symbol.asyncDispose]: async () => {
      await kill();
      await rm(directory, { recursive: true });
    },
  };
}

function configuration(
  serverUrl: string,
  port: number,
  directory: string,
  settings: PgBouncerSettings,
): string {
  const url = new URL(serverUrl);
  const { hostname, port: serverPort, username, password } = url;
  const all: PgBouncerSettings = {
    listen_addr: "127.0.0.1",
    listen_port: port,
    unix_socket_dir: "",
    auth_type: password === "" ? "trust" : "plain",
    auth_file: join(directory, "users.txt"),
    admin_users: username,
    pool_mode: "transaction",
    ...settings,
  };
  return [
    "[databases]",
    `* = host=${hostname} port=${serverPort || 5432}`,
    "[pgbouncer]",
    ...Object.entries(all).map(([name, value]) => `${name} = ${value}`),
    "",
  ].join("\n");
}

/** The user for PgBouncer, which refuses to run as root. */
function serverUser(): { uid: number; gid: number } | undefined {
  return process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;
}

/** Starts it and waits until it listens. */
async function run(
  ini: string,
  port: number,
  user: { uid: number; gid: number } | undefined,
): Promise<ChildProcess> {
  const child = spawn(program, [ini], {
    ...user,
    cwd: "/",
    env: environment,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (data) => log += data);
  child.once("error", (error) => log += error.message);
  while (!await takesConnections(port)) {
    if (child.exitCode !== null || child.pid === undefined) {
      throw new Error(`PgBouncer did not start: ${log}`);
    }
    await delay(10);
  }
  return child;
}
