/**
 * A Citus cluster: a coordinator, and worker nodes that hold the schemas. No
 * package registry has Citus, so `STREAM_STORAGE_CITUS_PGBIN` must name the
 * directory of a server with it. Without the variable, tests that need a
 * cluster are reported as not run ({@linkcode describeOnCluster}).
 *
 * Everybody on this machine can log in without a password. All data are in a
 * temporary directory. The servers end with our process at the latest.
 */
import { existsSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { serverAccount } from "../servers/debian.ts";
import { CitusNode, type CitusPlace } from "./citus_node.ts";

/** The variable that names the directory of the programs. */
export const citusVariable = "STREAM_STORAGE_CITUS_PGBIN";

/** Why there can be no cluster here; undefined if there can. */
export function whyNoCitus(): string | undefined {
  const programs = process.env[citusVariable];
  if (!programs) return `${citusVariable} is not set`;
  if (existsSync(join(programs, "postgres"))) return undefined;
  return `${citusVariable} has no program postgres: ${programs}`;
}

/**
 * A `describe` that needs a cluster. Without a cluster it has a single skipped
 * case whose name says so, because Bun does not report a skipped group.
 */
export function describeOnCluster(name: string, cases: () => void): void {
  const why = whyNoCitus();
  if (why === undefined) return void describe(name, cases);
  describe(name, () => it(`is NOT RUN: ${why}`, { skip: true }, () => {}));
}

/** How a cluster starts. */
export interface CitusClusterOptions {
  /** The number of worker nodes. Default: 2. */
  workers?: number;
  /** Settings of every server. By default commits wait for the disk. */
  settings?: Readonly<Record<string, string>>;
}

const ownSettings = {
  shared_preload_libraries: "citus",
  // Needed for transactions over several servers.
  max_prepared_transactions: "200",
  // Moves use logical replication, which has worker nodes on both sides.
  wal_level: "logical",
  max_worker_processes: "32",
  max_logical_replication_workers: "16",
  max_connections: "300",
  shared_buffers: "32MB",
  wal_retrieve_retry_interval: "50ms",
  // By default the servers require TLS from each other.
  "citus.node_conninfo": "sslmode=prefer",
  "citus.enable_statistics_collection": "off",
};

/**
 * Starts a plain server with the same programs and settings, for comparison
 * with a cluster.
 */
export async function startPlainServer(): Promise<
  AsyncDisposable & { url: string }
> {
  await using stack = new AsyncDisposableStack();
  const { shared_preload_libraries: _, ...settings } = Object.fromEntries(
    Object.entries(ownSettings).filter(([name]) => !name.startsWith("citus.")),
  );
  const place = await makePlace(settings);
  stack.defer(() => rm(place.base, { recursive: true, force: true }));
  const { url } = stack.use(
    await CitusNode.start(place, "plain", { isPlain: true }),
  );
  const owned = stack.move();
  return { url, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

/** A running cluster; see the file's head. */
export class CitusCluster implements AsyncDisposable {
  /** The server that takes changes of schemas; it has no shards. */
  readonly coordinator: CitusNode;
  /** The servers that hold the schemas. */
  readonly workers: readonly CitusNode[];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    [coordinator, ...workers]: CitusNode[],
    stack: AsyncDisposableStack,
  ) {
    this.coordinator = coordinator!;
    this.workers = workers;
    this.#stack = stack;
  }

  /** Resolves when every server knows every other. */
  static async start(
    options: CitusClusterOptions = {},
  ): Promise<CitusCluster> {
    const { workers = 2, settings = {} } = options;
    await using stack = new AsyncDisposableStack();
    const place = await makePlace({ ...ownSettings, ...settings });
    stack.defer(() => rm(place.base, { recursive: true, force: true }));
    const names = Array.from({ length: workers }, (_, i) => `worker_${i + 1}`);
    const starts = await Promise.allSettled(
      ["coordinator", ...names].map(async (name) =>
        stack.use(await CitusNode.start(place, name))
      ),
    );
    const nodes = starts.map((start) => {
      if (start.status === "rejected") throw start.reason;
      return start.value;
    });
    const [coordinator, ...others] = nodes;
    await coordinator!.query(
      `SELECT citus_set_coordinator_host('127.0.0.1', ${coordinator!.port})`,
    );
    for (const { port } of others) {
      await coordinator!.query(`SELECT citus_add_node('127.0.0.1', ${port})`);
    }
    return new CitusCluster(nodes, stack.move());
  }

  /** All servers, the coordinator first. */
  get nodes(): readonly CitusNode[] {
    return [this.coordinator, ...this.workers];
  }

  /** Runs SQL on the coordinator, on a session of its own; returns the rows. */
  query(sql: string): Promise<Record<string, unknown>[]> {
    return this.coordinator.query(sql);
  }

  /**
   * The server that holds a distributed schema, according to the coordinator.
   */
  async ownerOf(schema: string): Promise<CitusNode> {
    const [row] = await this.query(
      `SELECT DISTINCT n.nodeport
       FROM pg_dist_schema s JOIN pg_dist_partition t USING (colocationid)
       JOIN pg_dist_shard USING (logicalrelid)
       JOIN pg_dist_placement p USING (shardid)
       JOIN pg_dist_node n USING (groupid)
       WHERE s.schemaid = to_regnamespace('${schema}')`,
    );
    const owner = this.nodes.find(({ port }) => port === row?.nodeport);
    if (owner) return owner;
    throw new Error(`Expected a distributed schema ${schema}, found none`);
  }

  /** A worker node that does not hold the schema. */
  async otherThan(schema: string): Promise<CitusNode> {
    const owner = await this.ownerOf(schema);
    return this.workers.find((worker) => worker !== owner)!;
  }

  /** Moves a schema; resolves when the other server has it. */
  async move(
    schema: string,
    { port }: CitusNode,
    mode: "force_logical" | "block_writes" | "auto" = "auto",
  ): Promise<void> {
    await this.query(
      `SELECT citus_schema_move('${schema}', '127.0.0.1', ${port}, '${mode}')`,
    );
  }

  /** Ends all servers and removes their data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

async function makePlace(
  settings: Readonly<Record<string, string>>,
): Promise<CitusPlace> {
  const why = whyNoCitus();
  if (why !== undefined) throw new Error(why);
  // A server refuses to run as root.
  const account = process.geteuid?.() === 0 ? await serverAccount() : undefined;
  const base = await mkdtemp(join(tmpdir(), "stream-storage-citus-"));
  if (account) await chown(base, account.uid, account.gid);
  return { programs: process.env[citusVariable]!, base, account, settings };
}
