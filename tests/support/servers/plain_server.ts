/**
 * A plain PostgreSQL server: the embedded binaries on an existing cluster, with
 * the given settings and nothing else. `startEmbeddedPostgres` does not fit
 * here: it gives each cluster a new password, which a standby cannot take, and
 * it listens only on 127.0.0.1, which other network namespaces cannot reach.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { locateBinaries } from "../../../src/embedded/binaries.ts";
import { startOnLoopback } from "../../../src/embedded/loopback_port.ts";
import { prepareRun } from "../../../src/embedded/run_files.ts";
import {
  chooseServerUser,
  type ServerUser,
} from "../../../src/embedded/server_user.ts";
import { startServer } from "../../../src/embedded/start_server.ts";

/** What a {@linkcode PlainServer} runs. */
export interface PlainServerOptions {
  /** A cluster that no server uses. The caller keeps it. */
  dataDir: string;
  /** Addresses on which it listens besides 127.0.0.1. */
  addresses?: readonly string[];
  /** Settings by name. */
  settings?: Readonly<Record<string, string>>;
}

/** A running server; see the file's head. */
export class PlainServer implements AsyncDisposable {
  /** The port, the same on every address. */
  readonly port: number;
  readonly #end: () => Promise<void>;

  private constructor(port: number, end: () => Promise<void>) {
    this.port = port;
    this.#end = end;
  }

  /** Starts a primary or standby. Resolves when it takes connections. */
  static async start(options: PlainServerOptions): Promise<PlainServer> {
    const { dataDir, addresses = [], settings = {} } = options;
    const user = await ownerOf(dataDir);
    const native = await locateBinaries();
    return await startOnLoopback(undefined, async (port) => {
      const run = await prepareRun(native, user);
      const end = await startServer({
        ...run,
        user,
        dataDir,
        cluster: "foreign",
        fixed: [
          ["listen_addresses", ["127.0.0.1", ...addresses].join()],
          ["port", String(port)],
          ["unix_socket_directories", ""],
          ["external_pid_file", join(run.runDir, "server.pid")],
        ],
        settings: Object.entries(settings),
      });
      return new PlainServer(port, end);
    });
  }

  /** Stops the server and leaves its data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}

/** Finds the owner of the data. A server that root starts runs as that user. */
export async function ownerOf(dataDir: string): Promise<ServerUser> {
  const { uid, gid } = await stat(dataDir);
  return await chooseServerUser() && { uid, gid };
}
