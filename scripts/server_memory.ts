/**
 * Measures how much of the server's memory a store takes: each of its
 * connections, after calls of every kind have used all partitions, and a
 * statement of each kind in one connection. To measure a statement, the server
 * only plans it (EXPLAIN EXECUTE) and shows what it keeps
 * (`pg_backend_memory_contexts`).
 *
 * The memory of a connection is what Linux reports for its process
 * (`Pss_Anon`), without shared buffers. So the program starts a server on this
 * machine.
 *
 * ```sh
 * deno task server-memory
 * deno task server-memory --partitions 64 --calls daily
 * ```
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import pg from "pg";
import { openStreamStorage } from "../mod.ts";
import { baseType } from "../src/database/wire/types.ts";
import { searchPath } from "../src/database/search_path.ts";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { parseArguments, runProgram } from "./arguments.ts";
import {
  callAllPartitions,
  dailyCalls,
  everyCall,
} from "./server_memory/calls.ts";
import {
  type Connection,
  connectionsOf,
  kibibytesOf,
} from "./server_memory/connections.ts";
import { type Kind, Uses } from "./server_memory/uses.ts";

const usage = `Usage: deno task server-memory [options]

  --partitions N   partitions of each kind; default 256
  --calls WHICH    daily: the calls that a node makes all day; every: all calls;
                   default every
  --rounds N       how many times each partition gets its calls; default 3
  --clients N      calls at the same time; default 32
  --connections N  at most N connections of the store; default 10
  --unprepared     keep no statements; shows the least memory of a connection
                   that has used all tables
  --help           print this`;

interface Options {
  partitions: number;
  calls: "daily" | "every";
  rounds: number;
  clients: number;
  connections: number;
  unprepared: boolean;
  help: boolean;
}

function readArguments(args: string[]): Options {
  const { values } = parseArguments({
    args,
    options: {
      partitions: { type: "string", default: "256" },
      calls: { type: "string", default: "every" },
      rounds: { type: "string", default: "3" },
      clients: { type: "string", default: "32" },
      connections: { type: "string", default: "10" },
      unprepared: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { calls } = values;
  if (calls !== "daily" && calls !== "every") {
    throw new Error("Expected --calls daily or every");
  }
  return {
    ...values,
    calls,
    partitions: countOf("--partitions", values.partitions),
    rounds: countOf("--rounds", values.rounds),
    clients: countOf("--clients", values.clients),
    connections: countOf("--connections", values.connections),
  };
}

function countOf(option: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new Error(`Expected a number above 0 after ${option}`);
}

const contexts =
  `SELECT coalesce(sum(total_bytes) FILTER (WHERE name LIKE 'CachedPlan%'), 0)
     AS plans, sum(total_bytes) AS all FROM pg_backend_memory_contexts`;

interface KindMemory {
  kind: Kind;
  /** Bytes of a statement's plan; undefined if it has none, such as COPY. */
  planBytes: number | undefined;
  /**
   * CPU time of the server to parse and plan a statement and to show the plan.
   */
  planMs: number;
}

/**
 * A connection that plans statements as a store's connections do, and keeps
 * them.
 */
class Planner implements AsyncDisposable {
  readonly #client: pg.Client;
  #pid = 0;
  #names = 0;

  constructor(url: string) {
    this.#client = new pg.Client({ connectionString: url });
  }

  async connect(): Promise<this> {
    await this.#client.connect();
    await this.#client.query(`SET search_path = ${searchPath}`);
    await this.#client.query("SET plan_cache_mode = force_generic_plan");
    await this.#client.query("SET enable_seqscan = off");
    const { rows: [row] } = await this.#client.query(
      "SELECT pg_backend_pid() AS pid",
    );
    this.#pid = row.pid;
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#client.end();
  }

  async memory(): Promise<{ plans: number; others: number }> {
    const { rows: [row] } = await this.#client.query(contexts);
    const plans = Number(row.plans);
    return { plans, others: Number(row.all) - plans };
  }

  async processorMs(): Promise<number> {
    const schedstat = await readFile(`/proc/${this.#pid}/schedstat`, "utf8");
    return Number(schedstat.split(" ")[0]) / 1e6;
  }

  /**
   * Plans the statements. Returns how many there are, 0 if they have no plans.
   */
  async plan({ statements }: Kind): Promise<number> {
    const list = (items: string[]) =>
      items.length === 0 ? "" : `(${items.join(", ")})`;
    for (const { text, params } of statements.values()) {
      const types = params.map((type) => baseType(type));
      const name = `kind_${++this.#names}`;
      const values = types.map(() => "NULL");
      try {
        await this.#client.query(`PREPARE ${name} ${list(types)} AS ${text}`);
        await this.#client.query(`EXPLAIN EXECUTE ${name} ${list(values)}`);
      } catch {
        return 0;
      }
    }
    return statements.size;
  }

  async forget(): Promise<void> {
    await this.#client.query("DEALLOCATE ALL");
  }
}

/**
 * Measures what the server keeps for a statement of each kind, in one
 * connection.
 */
async function memoryOfKinds(
  url: string,
  kinds: readonly Kind[],
): Promise<{ kinds: KindMemory[]; otherBytes: number }> {
  await using planner = await new Planner(url).connect();
  const first = await planner.memory();
  // Otherwise the first statement on a table would also count the table's
  // catalog data.
  for (const kind of kinds) {
    await planner.plan(kind);
    await planner.forget();
  }
  const otherBytes = (await planner.memory()).others - first.others;
  const measured: KindMemory[] = [];
  for (const kind of kinds) {
    const [memory, ms] = [await planner.memory(), await planner.processorMs()];
    const planned = await planner.plan(kind);
    const planMs = (await planner.processorMs() - ms) / Math.max(1, planned);
    const grown = (await planner.memory()).plans - memory.plans;
    const planBytes = planned === 0 ? undefined : grown / planned;
    measured.push({ kind, planBytes, planMs });
    await planner.forget();
  }
  return { kinds: measured, otherBytes };
}

function print(
  connections: readonly Connection[],
  uses: Uses,
  { kinds, otherBytes }: Awaited<ReturnType<typeof memoryOfKinds>>,
): void {
  const mib = (kibibytes: number) => (kibibytes / 1024).toFixed(1);
  console.log("| connection | statements prepared | MiB |");
  console.log("| ---: | ---: | ---: |");
  const sorted = connections.toSorted((a, b) => b.kibibytes - a.kibibytes);
  for (const [i, { pid, kibibytes }] of sorted.entries()) {
    console.log(
      `| ${i + 1} | ${uses.preparedBy(pid)} | ${mib(kibibytes)} |`,
    );
  }
  console.log(`| all ${sorted.length} | | ${mib(kibibytesOf(sorted))} |\n`);
  let runs = 0;
  for (const kind of uses.kinds.values()) runs += kind.runs;
  console.log(
    `Statements ran ${runs} times, and were prepared ${uses.prepared} times.\n`,
  );
  console.log(
    "| statements | kept | KB each | MiB of all | ms | runs | text |",
  );
  console.log("| ---: | --- | ---: | ---: | ---: | ---: | --- |");
  const all = ({ kind, planBytes = 0 }: KindMemory) =>
    planBytes * kind.statements.size;
  let total = 0;
  for (const one of kinds.toSorted((a, b) => all(b) - all(a))) {
    const { kind, planBytes, planMs } = one;
    const isKept = [...kind.statements.values()].some(({ once }) => !once);
    if (isKept) total += all(one);
    const each = planBytes === undefined ? "–" : (planBytes / 1000).toFixed(1);
    const text = kind.text.slice(0, 100).replaceAll("|", "\\|");
    console.log(
      `| ${kind.statements.size} | ${isKept ? "yes" : "no"} | ${each} ` +
        `| ${mib(all(one) / 1024)} | ${planMs.toFixed(2)} | ${kind.runs} ` +
        `| \`${text}\` |`,
    );
  }
  console.log(
    `\nAll kept statements in one connection: ${mib(total / 1024)} MiB of ` +
      `plans, and ${mib(otherBytes / 1024)} MiB of the tables' catalog data.`,
  );
}

async function run(options: Options): Promise<number> {
  await using server = await startEmbeddedPostgres({
    settings: { shared_buffers: "128MB", fsync: "off" },
  });
  const { url } = server;
  const schema = "server_memory";
  const uses = new Uses(schema);
  const { partitions, connections: maxConnections, unprepared } = options;
  const named = new URL(url);
  named.searchParams.set("application_name", schema);
  await using storage = await openStreamStorage({
    url: named.href,
    schema,
    partitions,
    maxConnections,
    preparedStatements: !unprepared,
    startupDelayMs: 0,
    operationTimeoutMs: 60_000,
  });
  await callAllPartitions(
    (ids) =>
      options.calls === "daily"
        ? dailyCalls(storage, ids[0]!)
        : everyCall(storage, ids),
    options,
  );
  const back = new pg.Client({ connectionString: url });
  await back.connect();
  const connections = await connectionsOf(back, schema);
  await back.end();
  print(connections, uses, await memoryOfKinds(url, [...uses.kinds.values()]));
  return 0;
}

process.exit(await runProgram({ usage, readArguments, run }));
