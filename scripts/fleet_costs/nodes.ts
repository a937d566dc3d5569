/** The servers that are measured: one, or the nodes of a Citus cluster. */
import pg from "pg";

/** A server that is asked on one connection. */
export class Node implements AsyncDisposable {
  /** What it is to the measurement. */
  readonly name: string;
  readonly #client: pg.Client;

  private constructor(name: string, client: pg.Client) {
    this.name = name;
    this.#client = client;
  }

  /** Connects; the sessions of the measurement see the shards, too. */
  static async connect(name: string, url: string): Promise<Node> {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => {}); // the query rejects, too
    await client.connect();
    // A server without Citus ignores it.
    await client.query("SET citus.override_table_visibility = off");
    return new Node(name, client);
  }

  /** The rows of a statement. */
  async rows<T extends pg.QueryResultRow>(
    text: string,
    values: unknown[] = [],
  ): Promise<T[]> {
    return (await this.#client.query<T>(text, values)).rows;
  }

  /** Its only row. */
  async row<T extends pg.QueryResultRow>(
    text: string,
    values: unknown[] = [],
  ): Promise<T> {
    const [row] = await this.rows<T>(text, values);
    if (row === undefined) throw new Error("Expected a row");
    return row;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#client.end();
  }
}

/** The server of a url, and the worker nodes where it is a coordinator. */
export async function connectNodes(
  url: string,
  stack: AsyncDisposableStack,
): Promise<{ first: Node; workers: Node[] }> {
  const first = stack.use(await Node.connect("server", url));
  const { is_cluster } = await first.row<{ is_cluster: boolean }>(
    "SELECT to_regclass('pg_catalog.pg_dist_node') IS NOT NULL AS is_cluster",
  );
  const workers: Node[] = [];
  if (!is_cluster) return { first, workers };
  const found = await first.rows<{ nodename: string; nodeport: number }>(
    `SELECT nodename, nodeport FROM pg_dist_node
      WHERE groupid > 0 AND noderole = 'primary' ORDER BY nodeport`,
  );
  for (const { nodename, nodeport } of found) {
    const its = new URL(url);
    its.hostname = nodename;
    its.port = String(nodeport);
    workers.push(
      stack.use(await Node.connect(`worker ${nodeport}`, its.href)),
    );
  }
  return { first, workers };
}
