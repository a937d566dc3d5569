/**
 * Measures the constants that `plan-fleet` calculates with: what an empty store
 * adds to a server, what events cost it, and how long a store takes to move
 * between the worker nodes of a Citus cluster. Makes schemas of its own, and
 * removes them.
 *
 * ```sh
 * deno task fleet-costs --measure relations --partitions 16
 * deno task fleet-costs --measure events --event-bytes 300
 * deno task fleet-costs --measure moves --url URL --megabytes 500
 * ```
 *
 * Measuring events reads processor times from /proc: its server is on this
 * machine.
 */
import process from "node:process";
import { openStreamStorage } from "../mod.ts";
import { dropStore, fillStore } from "./fleet_costs/stores.ts";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { migrateStore } from "../src/operator/mod.ts";
import { parseArguments, runProgram } from "./arguments.ts";
import { measureEvents } from "./fleet_costs/load.ts";
import { distribute, moveAway } from "./fleet_costs/moves.ts";
import { connectNodes } from "./fleet_costs/nodes.ts";
import { added, relationsOf } from "./fleet_costs/relations.ts";

const usage = `Usage: deno task fleet-costs --measure WHAT [options]

  --measure WHAT    relations, events or moves
  --url URL         a server, or the coordinator of a cluster; default: an
                    embedded server (moves needs a cluster)
  --partitions N    of the store; default 16
  --stores N        relations: so many stores; default 1
  --event-bytes N   events: size of each; default 300
  --callers N       events: calls at a time; default 8
  --streams N       events: streams, of 10 blocks of 5 events; default 200
  --megabytes N     moves: rows in the store; default 0
  --help            print this`;

const measures = ["relations", "events", "moves"] as const;

interface Options {
  measure: (typeof measures)[number];
  url: string | undefined;
  partitions: number;
  stores: number;
  eventBytes: number;
  callers: number;
  streams: number;
  megabytes: number;
  help: boolean;
}

function readArguments(args: string[]): Options {
  const { values } = parseArguments({
    args,
    options: {
      measure: { type: "string", default: "relations" },
      url: { type: "string" },
      partitions: { type: "string", default: "16" },
      stores: { type: "string", default: "1" },
      "event-bytes": { type: "string", default: "300" },
      callers: { type: "string", default: "8" },
      streams: { type: "string", default: "200" },
      megabytes: { type: "string", default: "0" },
      help: { type: "boolean", default: false },
    },
  });
  const measure = measures.find((each) => each === values.measure);
  if (measure === undefined) {
    throw new Error(`Expected --measure ${measures.join(", ")}`);
  }
  return {
    measure,
    url: values.url,
    partitions: countOf("--partitions", values.partitions, 1),
    stores: countOf("--stores", values.stores, 1),
    eventBytes: countOf("--event-bytes", values["event-bytes"], 1),
    callers: countOf("--callers", values.callers, 1),
    streams: countOf("--streams", values.streams, 1),
    megabytes: countOf("--megabytes", values.megabytes, 0),
    help: values.help,
  };
}

function countOf(option: string, text: string, min: number): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= min) return number;
  throw new Error(`Expected a whole number of ${min} or more behind ${option}`);
}

const newSchema = () => `fleet_${crypto.randomUUID().replaceAll("-", "")}`;

async function measureRelations(
  url: string,
  { partitions, stores }: Options,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const { first, workers } = await connectNodes(url, stack);
  const nodes = [first, ...workers];
  const before = await Promise.all(nodes.map(relationsOf));
  const times = { migrate: 0, distribute: 0 };
  for (let store = 0; store < stores; store++) {
    const schema = newSchema();
    stack.defer(() => dropStore(url, schema));
    const started = performance.now();
    await migrateStore({ url, schema, partitions });
    times.migrate += (performance.now() - started) / 1000;
    if (workers.length > 0) times.distribute += await distribute(first, schema);
  }
  const perStore = (sum: number) => Math.round(sum / stores * 1000) / 1000;
  for (const [i, node] of nodes.entries()) {
    const sums = added(before[i]!, await relationsOf(node));
    // A worker node has some of them and the tables of all.
    print({ node: node.name, partitions, stores, ...sums });
  }
  print({
    partitions,
    migrateSeconds: perStore(times.migrate),
    distributeSeconds: perStore(times.distribute),
  });
}

async function measureLoad(
  url: string,
  { partitions, eventBytes, callers, streams }: Options,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const { first } = await connectNodes(url, stack);
  const schema = newSchema();
  stack.defer(() => dropStore(url, schema));
  const storage = stack.use(
    await openStreamStorage({ url, schema, partitions, startupDelayMs: 0 }),
  );
  const load = { streams, rounds: 10, events: 5, eventBytes, callers };
  print({ partitions, callers, ...await measureEvents(storage, first, load) });
}

async function measureMoves(
  url: string,
  { partitions, megabytes }: Options,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const { first, workers } = await connectNodes(url, stack);
  if (workers.length < 2) throw new Error("Expected a cluster of two workers");
  const schema = newSchema();
  stack.defer(() => dropStore(url, schema));
  await migrateStore({ url, schema, partitions });
  const bytes = await fillStore(first, schema, megabytes * 1e6);
  const distributeSeconds = await distribute(first, schema);
  for (const mode of ["force_logical", "block_writes"] as const) {
    const seconds = await moveAway(first, schema, mode);
    print({ partitions, bytes, mode, seconds, distributeSeconds });
  }
}

function print(line: Record<string, unknown>): void {
  console.log(JSON.stringify(line));
}

async function run(options: Options): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const url = options.url ?? stack.use(await startEmbeddedPostgres()).url;
  const measure = {
    relations: measureRelations,
    events: measureLoad,
    moves: measureMoves,
  }[options.measure];
  await measure(url, options);
  return 0;
}

process.exitCode = await runProgram({ usage, readArguments, run });
