import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { binariesVersion, locateBinaries } from "./binaries.ts";
import { type DataDirectory, openDataDirectory } from "./data_directory.ts";
import { loopback, startOnLoopback } from "./loopback_port.ts";
import {
  type CheckedOptions,
  checkOptions,
  type EmbeddedPostgresOptions,
} from "./options.ts";
import { prepareRun, type RunFiles } from "./run_files.ts";
import { serverAccounts, type ServerUser } from "./server_user.ts";
import { startServer } from "./start_server.ts";
import type { ServerPlan } from "./supervisor.ts";

/** A running server. */
export interface EmbeddedPostgres extends AsyncDisposable {
  /**
   * `postgresql://postgres:…@127.0.0.1:…/postgres`, of a superuser. Every start
   * sets a new password, also on an old `dataDir`, and nobody can connect
   * without one: the `pg_hba.conf` of a `dataDir` is ignored; only the setting
   * `hba_file` replaces ours.
   */
  url: string;
  /**
   * Stops the server and removes what is temporary; safe to call again.
   * @throws `UNAVAILABLE` when the server still runs after 30 seconds.
   */
  close(): Promise<void>;
}

/**
 * Starts a PostgreSQL server of its own on 127.0.0.1, usually within about a
 * second and at most within two minutes, as root or as an ordinary user. It is
 * as durable as PostgreSQL's defaults make it; see `settings`.
 *
 * The server ends with `close()` or else with this process, however the process
 * ends, and does not keep the process alive.
 *
 * @throws `BAD_CONFIG` when the options, the platform, the port or the
 *   directory cannot be used, with the exact cause in `details.reason`;
 *   `UNAVAILABLE` when the server did not start, with the tail of its log.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  const checked = checkOptions(options);
  const native = await locateBinaries();
  return await startOnLoopback(
    checked.port,
    (port) => startOnPort(checked, native, port),
  );
}

async function startOnPort(
  options: CheckedOptions,
  native: string,
  port: number,
): Promise<EmbeddedPostgres> {
  const accounts = await serverAccounts();
  const kept = options.dataDir === undefined
    ? undefined
    : await openDataDirectory(options.dataDir, accounts, majorVersion());
  const user = kept === undefined ? accounts[0] : kept.user;
  const password = randomBytes(24).toString("hex");
  let end: () => Promise<void>;
  try {
    const run = await prepareRun(native, user);
    end = await startServer(plan(options, kept, run, port, user), password);
  } catch (error) {
    // The caller can act on the first failure, so that one is thrown.
    await kept?.restore();
    throw error;
  }
  const url = `postgresql://postgres:${password}@${loopback}:${port}/postgres`;
  let closed: Promise<void> | undefined;
  const close = () => closed ??= end();
  return { url, close, [Symbol.asyncDispose]: close };
}

function majorVersion(): string {
  return binariesVersion.split(".")[0] ?? "";
}

function plan(
  { settings }: CheckedOptions,
  kept: DataDirectory | undefined,
  { runDir, binaries }: RunFiles,
  port: number,
  user: ServerUser,
): ServerPlan {
  const given = new Set(settings.map(([name]) => name.toLowerCase()));
  const defaults: [string, string][] = [
    ["unix_socket_directories", ""],
    ["hba_file", join(runDir, "pg_hba.conf")],
  ];
  return {
    runDir,
    user,
    binaries,
    dataDir: kept?.path ?? join(runDir, "data"),
    cluster: kept === undefined ? "temporary" : kept.fresh ? "new" : "existing",
    fixed: [
      ["listen_addresses", loopback],
      ["port", String(port)],
      ["external_pid_file", join(runDir, "server.pid")],
      ...defaults.filter(([name]) => !given.has(name)),
    ],
    settings,
  };
}
