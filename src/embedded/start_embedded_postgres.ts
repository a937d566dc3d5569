import { randomBytes, randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import {
  binariesVersion,
  locateBinaries,
  prepareBinaries,
} from "./binaries.ts";
import { type DataDirectory, openDataDirectory } from "./data_directory.ts";
import { badConfig, textOf } from "./failure.ts";
import { loopback, startOnLoopback } from "./loopback_port.ts";
import {
  type CheckedOptions,
  checkOptions,
  type EmbeddedPostgresOptions,
} from "./options.ts";
import {
  chooseServerUser,
  holdsFor,
  makeDirectory,
  type ServerUser,
} from "./server_user.ts";
import { type ServerPlan, Supervisor } from "./supervisor.ts";

/** A running server. */
export interface EmbeddedPostgres extends AsyncDisposable {
  /**
   * `postgresql://postgres:…@127.0.0.1:…/postgres`, of a superuser. The
   * password is new at every start, on an old `dataDir` too.
   */
  url: string;
  /**
   * Stops the server and removes what is temporary; safe to call again.
   * @throws `UNAVAILABLE` when the server still runs after 30 seconds.
   */
  close(): Promise<void>;
}

/**
 * Starts a PostgreSQL server of its own on 127.0.0.1, within about a second
 * and within two minutes at most, as root or as an ordinary user. It is as
 * durable as PostgreSQL's own defaults make it; see `settings`.
 *
 * The server ends with `close()` or else with this process, however that ends,
 * and keeps no process alive by itself.
 *
 * @throws `BAD_CONFIG` when the options, the platform, the port or the
 * directory cannot be used, with the exact cause in `details.reason`;
 * `UNAVAILABLE` when the server did not start, with the tail of its log.
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
  const serverUser = await chooseServerUser();
  const kept = options.dataDir === undefined
    ? undefined
    : await openDataDirectory(options.dataDir, serverUser, majorVersion());
  const user = kept === undefined ? serverUser : kept.user;
  const runDir = join(
    await temporaryParent(user),
    `stream-storage-postgres-${randomUUID()}`,
  );
  const supervisor = new Supervisor(plan(options, kept, runDir, port, user));
  const password = randomBytes(24).toString("hex");
  try {
    await prepareRun(native, runDir, user);
    await supervisor.start(password);
  } catch (error) {
    // What failed first is what the caller can act on.
    await supervisor.stop().catch(() => {});
    await kept?.restore();
    throw error;
  }
  const url = `postgresql://postgres:${password}@${loopback}:${port}/postgres`;
  let closed: Promise<void> | undefined;
  const close = () => closed ??= supervisor.stop();
  return { url, close, [Symbol.asyncDispose]: close };
}

function majorVersion(): string {
  return binariesVersion.split(".")[0] ?? "";
}

function plan(
  { settings }: CheckedOptions,
  kept: DataDirectory | undefined,
  runDir: string,
  port: number,
  user: ServerUser,
): ServerPlan {
  return {
    runDir,
    user,
    dataDir: kept?.path ?? join(runDir, "data"),
    cluster: kept === undefined ? "temporary" : kept.fresh ? "new" : "existing",
    settings: [
      ["listen_addresses", loopback],
      ["port", String(port)],
      ["unix_socket_directories", ""],
      ["external_pid_file", join(runDir, "server.pid")],
      ...settings,
    ],
  };
}

/** Where the server's user may make and remove directories. */
async function temporaryParent(user: ServerUser): Promise<string> {
  for (const parent of [resolve(tmpdir()), "/tmp"]) {
    if (
      user === undefined || await holdsFor(user, 'cd "$1" && [ -w . ]', parent)
    ) return parent;
  }
  throw tmpUnusable(`user ${user?.uid}, who runs the server, cannot write`);
}

async function prepareRun(
  native: string,
  runDir: string,
  user: ServerUser,
): Promise<void> {
  try {
    await makeDirectory(runDir, user);
    await prepareBinaries(native, runDir, user);
  } catch (error) {
    throw tmpUnusable(textOf(error), error);
  }
}

function tmpUnusable(why: string, cause?: unknown): Error {
  return badConfig(
    "temporary_directory_unusable",
    `Cannot start the embedded PostgreSQL: TMPDIR must be a directory that can hold its files, received ${tmpdir()}: ${why}`,
    { temporaryDirectory: tmpdir() },
    cause,
  );
}
