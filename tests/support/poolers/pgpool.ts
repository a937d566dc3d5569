/** A test's own pgpool-II in front of a server. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import {
  freePort,
  takesConnections,
  throughPort,
} from "../network/listener.ts";

/** pgpool-II's `backend_clustering_mode`. */
export type PgPoolMode = "raw" | "streaming_replication";

/** A running pgpool-II. */
export interface PgPool extends AsyncDisposable {
  /** The server's URL through it. */
  url: string;
}

/** Debian installs it outside of an ordinary user's path. */
const environment = { PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };

/** Why pgpool-II can't be used; undefined if it can. */
export function whyNoPgPool(): string | undefined {
  const { status } = spawnSync("pgpool", ["--version"], { env: environment });
  return status === 0
    ? undefined
    : "pgpool-II is missing: apt-get install pgpool2";
}

/** Starts pgpool-II in front of a server that trusts everybody. */
export async function startPgPool(
  serverUrl: string,
  mode: PgPoolMode,
): Promise<PgPool> {
  const directory = await mkdtemp(join(tmpdir(), "pgpool-"));
  const url = new URL(serverUrl);
  const port = await freePort();
  await writeFiles(directory, await settingsOf(url, { mode, port, directory }));
  const user = process.getuid?.() === 0
    ? { uid: 65534, gid: 65534 }
    : undefined;
  // This comes last, so that root never writes where another user may.
  if (user !== undefined) await chown(directory, user.uid, user.gid);
  const child = spawn("pgpool", [
    "-n",
    ...["-f", join(directory, "pgpool.conf")],
    ...["-F", join(directory, "pcp.conf")],
    ...["-a", join(directory, "pool_hba.conf")],
  ], {
    ...user,
    cwd: "/",
    env: environment,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (data) => log = (log + data).slice(-10_000));
  let isEnded = false;
  const ended = once(child, "exit").then(() => isEnded = true);
  while (!await takesConnections(port)) {
    if (isEnded) throw new Error(`pgpool-II did not start: ${log}`);
    await delay(10);
  }
  return {
    url: throughPort(serverUrl, port),
    [Symbol.asyncDispose]: async () => {
      // A fast shutdown: its children end, too, and free their shared memory.
      child.kill("SIGINT");
      await ended;
      await rm(directory, { recursive: true });
    },
  };
}

async function settingsOf(
  server: URL,
  { mode, port, directory }: {
    mode: PgPoolMode;
    port: number;
    directory: string;
  },
): Promise<Record<string, string | number>> {
  return {
    backend_clustering_mode: mode,
    listen_addresses: "127.0.0.1",
    port,
    socket_dir: directory, // before 4.4
    unix_socket_directories: directory,
    pcp_port: await freePort(),
    pcp_socket_dir: directory,
    pid_file_name: join(directory, "pgpool.pid"),
    logdir: directory,
    work_dir: directory,
    num_init_children: 20,
    max_pool: 1,
    sr_check_period: 0,
    health_check_period: 0,
    failover_on_backend_error: "off",
    backend_hostname0: server.hostname,
    backend_port0: server.port,
    backend_flag0: "ALWAYS_PRIMARY",
  };
}

async function writeFiles(
  directory: string,
  settings: Record<string, string | number>,
): Promise<void> {
  const files = {
    "pgpool.conf": Object.entries(settings)
      .map(([name, value]) => `${name} = '${value}'\n`).join(""),
    "pcp.conf": "",
    "pool_hba.conf": "",
  };
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(directory, name), text);
  }
}
