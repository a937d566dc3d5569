import { join } from "node:path";
import type { LossyNetwork } from "../../tests/support/network/network_namespace.ts";
import { queryOnce } from "../../tests/support/database.ts";
import { writeAs } from "../../tests/support/servers/write_as.ts";
import {
  ownerOf,
  PlainServer,
} from "../../tests/support/servers/plain_server.ts";
import { CrashServer } from "../../tests/support/servers/crash_server.ts";

/**
 * A PostgreSQL server on this machine that stores on the far side of a network
 * also reach. A partition cuts those stores off.
 */
export class FarServer implements AsyncDisposable {
  /** The URL on 127.0.0.1, which does not use the network. */
  readonly url: string;
  /** The URL through the network. */
  readonly farUrl: string;
  readonly #server: PlainServer;
  readonly #cluster: CrashServer;

  private constructor(
    cluster: CrashServer,
    server: PlainServer,
    { serverAddress }: LossyNetwork,
  ) {
    const { port } = server;
    this.url = cluster.url.replace(`:${cluster.port}/`, `:${port}/`);
    this.farUrl = this.url.replace("127.0.0.1", serverAddress);
    this.#cluster = cluster;
    this.#server = server;
  }

  /** Starts the server with these settings. */
  static async start(
    network: LossyNetwork,
    settings: Record<string, string> = {},
  ): Promise<FarServer> {
    const cluster = await CrashServer.start({ settings: { fsync: "off" } });
    try {
      await cluster.stop();
      await writeAs(
        await ownerOf(cluster.dataDir),
        join(cluster.dataDir, "pg_hba.conf"),
        `host all all ${network.range} scram-sha-256\n`,
      );
      const server = await PlainServer.start({
        dataDir: cluster.dataDir,
        addresses: [network.serverAddress],
        settings,
      });
      return new FarServer(cluster, server, network);
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs SQL on a new session that does not use the network. */
  query(sql: string): Promise<Record<string, unknown>[]> {
    return queryOnce(this.url, sql);
  }

  /** Finds the ports of sessions from the far side that meet the condition. */
  async portsWhere(condition: string): Promise<number[]> {
    const rows = await this.query(
      `SELECT client_port FROM pg_stat_activity AS session
       WHERE client_port > 0 AND client_addr <> '127.0.0.1' AND ${condition}`,
    );
    return rows.map(({ client_port }) => Number(client_port));
  }

  /** Ends the server and removes the data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    await this.#cluster[Symbol.asyncDispose]();
  }
}
