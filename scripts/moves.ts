/**
 * Moves schemas of a Citus cluster under full load. See `usage` in
 * moves/arguments.ts.
 *
 * ```sh
 * deno task soak:moves
 * deno task soak:moves --schemas 20 --moves 2 --writers 4
 * ```
 */
import process from "node:process";
import {
  CitusCluster,
  whyNoCitus,
} from "../tests/support/cluster/citus_cluster.ts";
import { distributedSchema } from "../tests/support/cluster/distributed_schema.ts";
import { runProgram } from "./arguments.ts";
import { formatTable } from "./demo/table.ts";
import { readArguments, usage } from "./moves/arguments.ts";
import {
  type Move,
  type MovesReport,
  moveUnderLoad,
  ways,
} from "./moves/move_under_load.ts";

async function main(
  options: ReturnType<typeof readArguments>,
): Promise<number> {
  const why = whyNoCitus();
  if (why !== undefined) {
    console.error(`Expected a cluster: ${why}`);
    return 2;
  }
  await using cluster = await CitusCluster.start();
  const schemas = Array.from(
    { length: options.schemas },
    (_, i) => `moved_${i}`,
  );
  const since = performance.now();
  for (const schema of schemas) {
    await distributedSchema(cluster, schema, options.partitions);
  }
  const madeMs = performance.now() - since;
  console.log(`${schemas.length} schemas made in ${Math.round(madeMs)} ms\n`);
  const reports = await Promise.all(
    schemas.map((schema) => moveUnderLoad(cluster, { ...options, schema })),
  );
  const moves = reports.flatMap((report) => report.moves);
  console.log(
    formatTable(heads, ways.map((way) => row(way, moves))).join("\n"),
  );
  return summary(reports);
}

const heads = ["way", "moves", "took", "pause", "", "longest", "search"];

function row(way: string, moves: readonly Move[]): string[] {
  const those = moves.filter((move) => move.way === way);
  const seconds = (ms = 0) => `${(ms / 1000).toFixed(2)} s`;
  const sorted = (of: (move: Move) => number) =>
    those.map(of).sort((a, b) => a - b);
  const took = sorted(({ tookMs }) => tookMs);
  const pauses = sorted(({ pauseMs }) => pauseMs);
  const middle = Math.floor(those.length / 2);
  return [
    way,
    String(those.length),
    seconds(took[middle]),
    seconds(pauses[0]),
    seconds(pauses[middle]),
    seconds(pauses.at(-1)),
    `${(sorted(({ searchMs }) => searchMs)[middle] ?? 0).toFixed(1)} ms`,
  ];
}

function summary(reports: readonly MovesReport[]): number {
  const sum = (of: (report: MovesReport) => number) =>
    reports.reduce((total, report) => total + of(report), 0);
  const failures = reports.flatMap((report) => report.failures);
  const lost = reports.flatMap((report) => report.lost);
  console.log(
    `\n${sum((each) => each.acknowledged)} writes acknowledged, ` +
      `${sum((each) => each.reads)} reads; ${failures.length} calls failed, ` +
      `${lost.length} lost or too old`,
  );
  for (const text of [...failures, ...lost].slice(0, 20)) console.error(text);
  return Number(failures.length + lost.length > 0);
}

if (import.meta.main) {
  process.exitCode = await runProgram({ usage, readArguments, run: main });
}
