/**
 * What a Citus cluster costs a store: how much it does on a worker node, beside
 * what it does on a plain server of the same programs and settings, by turns on
 * one machine. Prints a table: the medians of the rounds, and the ratio of the
 * two with the least and the most of a round.
 *
 * ```sh
 * deno task cluster-cost
 * deno task cluster-cost --rounds 9 --seconds 2
 * ```
 */
import process from "node:process";
import { openStreamStorage, type PostgresStreamStorage } from "../mod.ts";
import {
  CitusCluster,
  startPlainServer,
  whyNoCitus,
} from "../tests/support/cluster/citus_cluster.ts";
import { distributedSchema } from "../tests/support/cluster/distributed_schema.ts";
import { parseArguments, runProgram } from "./arguments.ts";
import { works } from "./cluster_cost/work.ts";
import { formatTable } from "./demo/table.ts";

const usage = `Usage: deno task cluster-cost [options]

  The programs of the servers are those that STREAM_STORAGE_CITUS_PGBIN names.

  --rounds N      each with every kind of work, in turns; default 5
  --seconds N     seconds of each kind in a round, on each server; default 2
  --partitions N  of each store; default 16
  --help          print this`;

interface Options {
  rounds: number;
  seconds: number;
  partitions: number;
  help: boolean;
}

function readArguments(args: string[]): Options {
  const { values } = parseArguments({
    args,
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "2" },
      partitions: { type: "string", default: "16" },
      help: { type: "boolean", default: false },
    },
  });
  const { help, ...numbers } = values;
  const [rounds, seconds, partitions] = Object.entries(numbers).map(
    ([name, text]) => {
      if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
      throw new Error(`Expected a whole number above 0 with --${name}`);
    },
  ) as [number, number, number];
  return { rounds, seconds, partitions, help };
}

/** What was done a second, round by round. */
interface Rates {
  plain: number[];
  cluster: number[];
}

async function main({ rounds, seconds, partitions }: Options): Promise<number> {
  const why = whyNoCitus();
  if (why !== undefined) {
    console.error(`Expected a cluster: ${why}`);
    return 2;
  }
  const schema = "cost";
  await using server = await startPlainServer();
  await using citus = await CitusCluster.start();
  await distributedSchema(citus, schema, partitions);
  const options = { schema, partitions, startupDelayMs: 0 };
  await using plain = await openStreamStorage({ ...options, url: server.url });
  await using cluster = await openStreamStorage({
    ...options,
    url: citus.coordinator.url,
  });
  const rates = await measure({ plain, cluster }, rounds, seconds * 1000);
  const rows = Object.entries(rates).map(([name, { plain, cluster }]) => {
    const ratios = cluster.map((rate, i) => rate / plain[i]!);
    return [
      name,
      median(plain).toFixed(0),
      median(cluster).toFixed(0),
      (median(cluster) / median(plain)).toFixed(2),
      `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`,
    ];
  });
  const heads = ["a second", "plain", "cluster", "ratio", "of a round"];
  console.log(formatTable(heads, rows).join("\n"));
  return 0;
}

async function measure(
  stores: Record<keyof Rates, PostgresStreamStorage>,
  rounds: number,
  ms: number,
): Promise<Record<string, Rates>> {
  const rates: Record<string, Rates> = {};
  const kinds = ["plain", "cluster"] as const;
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const [name, work] of Object.entries(works)) {
      const its = rates[name] ??= { plain: [], cluster: [] };
      const order = round % 2 === 0 ? kinds : kinds.toReversed();
      for (const kind of order) {
        const rate = await work(stores[kind], ms);
        if (round > 0) its[kind].push(rate);
      }
    }
  }
  return rates;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

if (import.meta.main) {
  process.exitCode = await runProgram({ usage, readArguments, run: main });
}
