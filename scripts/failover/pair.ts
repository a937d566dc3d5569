/** A primary and the streaming standby that takes over. */
import { chmod, mkdtemp } from "node:fs/promises";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { writeAs } from "../../tests/support/servers/write_as.ts";
import {
  serverAccount,
  serverPrograms,
} from "../../tests/support/servers/debian.ts";
import { Janitor } from "./janitor.ts";
import { PairNetwork, type Side, type Way } from "./network.ts";
import { port, role, Server } from "./server.ts";

/** Whether a commit waits for the standby. */
export type Mode = "sync" | "async";

/** Which host of the URL comes first. The primary is the host that fails. */
export type Order = "primary first" | "standby first";

/**
 * The way between the servers, and the way between the stores and the primary.
 */
export type NamedWay = "replication" | "stores";

const ways: Record<NamedWay, Way> = {
  replication: ["a", "b"],
  stores: ["stores", "a"],
};

const settings = {
  // A killed server's writes survive without it, because the machine runs on.
  fsync: "off",
  wal_log_hints: "on",
  max_connections: "100",
  shared_buffers: "32MB",
  // The primary keeps the log that the standby has not fetched yet.
  wal_keep_size: "256MB",
  wal_retrieve_retry_interval: "50ms",
  // Other kinds of shared memory would outlive a killed server.
  dynamic_shared_memory_type: "mmap",
};

/** Two servers: the first is the primary until it fails. */
export class Pair implements AsyncDisposable {
  readonly primary: Server;
  readonly standby: Server;
  readonly #network: PairNetwork;
  readonly #janitor: Janitor;

  private constructor(
    network: PairNetwork,
    janitor: Janitor,
    servers: [Server, Server],
  ) {
    this.#network = network;
    this.#janitor = janitor;
    [this.primary, this.standby] = servers;
  }

  /** Starts both. Resolves when the standby has caught up with the primary. */
  static async start(mode: Mode): Promise<Pair> {
    const base = await mkdtemp(join(tmpdir(), "stream-storage-failover-"));
    // The servers run as another user, who needs access to the directory.
    await chmod(base, 0o755);
    const network = await PairNetwork.plan();
    const janitor = new Janitor(base, network.names);
    try {
      await network.make();
      const server = await serversIn(base, network);
      const pair = new Pair(network, janitor, [server("a"), server("b")]);
      await pair.#start();
      if (mode === "sync") await pair.waitForStandby(pair.primary);
      return pair;
    } catch (error) {
      await janitor[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A URL of both hosts, which connects to the one that takes writes. */
  url(order: Order): string {
    const hosts = [this.primary, this.standby].map(({ place }) =>
      `${place.address}:${port}`
    );
    if (order === "standby first") hosts.reverse();
    return `postgresql://${role}@${hosts.join()}/postgres?sslmode=disable` +
      "&target_session_attrs=read-write";
  }

  /** Makes the commits of this server wait for a standby from now on. */
  async waitForStandby(server: Server): Promise<void> {
    await server.set("synchronous_standby_names", "*");
    await server.until(
      "EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync')",
    );
  }

  /** Waits until the follower has replayed everything that is committed now. */
  async catchUp(leader = this.primary, follower = this.standby): Promise<void> {
    const [row] = await leader.query(
      "SELECT pg_current_wal_flush_lsn()::text AS lsn",
    );
    await follower.until(`pg_last_wal_replay_lsn() >= '${row?.lsn}'::pg_lsn`);
  }

  /** Drops all packets of this way from now on, without any notice. */
  async cut(way: NamedWay): Promise<void> {
    await this.#network.cut(ways[way]);
  }

  /** Counts the stores' connections to the server. */
  connectionsTo(server: Server): Promise<number> {
    return this.#network.connectionsTo(this.#sideOf(server));
  }

  /** Makes a stopped primary the standby of the promoted server. */
  async rejoin(): Promise<void> {
    const { primary, standby } = this;
    // Without a checkpoint, pg_rewind would compare with an older timeline.
    await standby.query("CHECKPOINT");
    const source = `host=${standby.place.dir} user=${role} dbname=postgres`;
    const args = ["-D", primary.data, `--source-server=${source}`];
    await primary.run("pg_rewind", [...args, "--no-sync"]);
    await this.#follow(primary, standby);
    await this.catchUp(standby, primary);
  }

  /** Stops both servers and removes everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#janitor[Symbol.asyncDispose]();
  }

  async #start(): Promise<void> {
    const { primary, standby } = this;
    await Promise.all([primary.prepare(), standby.prepare()]);
    await primary.initialize(this.#network.range);
    // `cp` keeps the files' owners; Node's copy function does not.
    await promisify(execFile)("cp", ["-a", primary.data, standby.data]);
    await primary.start(settings);
    await this.#follow(standby, primary);
    await this.catchUp();
  }

  /** Starts a stopped server as the standby of the other server. */
  async #follow(server: Server, leader: Server): Promise<void> {
    const { place } = leader;
    // The server removes this file when it is promoted.
    const signal = join(server.data, "standby.signal");
    await writeAs(server.place.account, signal, "");
    await server.start({
      ...settings,
      primary_conninfo: `host=${place.address} port=${port} user=${role} ` +
        "sslmode=disable",
    });
  }

  #sideOf(server: Server): Side {
    return server === this.primary ? "a" : "b";
  }
}

async function serversIn(
  base: string,
  network: PairNetwork,
): Promise<(side: Side) => Server> {
  const programs = serverPrograms();
  if (programs === undefined) {
    throw new Error("Expected Debian's package postgresql");
  }
  const account = await serverAccount();
  return (side) =>
    new Server({
      namespace: network.namespace(side),
      address: network.address(side),
      dir: join(base, side),
      programs,
      account,
    });
}
