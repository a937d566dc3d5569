/**
 * Measures how fast an instance that stands by takes over, and checks that the
 * former owner writes nothing afterwards. See `usage` in
 * standing_by/arguments.ts.
 *
 * ```sh
 * deno task standby
 * bun scripts/standing_by.ts --ways kill --rounds 20
 * ```
 */
import process from "node:process";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { runProgram } from "./arguments.ts";
import { connectionUrl } from "./connection_url.ts";
import { formatTable } from "./demo/table.ts";
import { readArguments, usage } from "./standing_by/arguments.ts";
import { contend } from "./standing_by/contend.ts";
import { type Handover, handOver } from "./standing_by/handover.ts";

async function main(
  options: ReturnType<typeof readArguments>,
): Promise<number> {
  const given = await connectionUrl(options);
  await using server = given === undefined
    ? await startEmbeddedPostgres()
    : undefined;
  const url = given ?? server!.url;
  const newSchema = () =>
    `standing_by_${crypto.randomUUID().replaceAll("-", "")}`;
  const done: Handover[] = [];
  for (let round = 0; round < options.rounds; round++) {
    for (const way of options.ways) {
      done.push(await handOver({ url, schema: newSchema() }, way));
    }
  }
  console.log(table(done));
  for (const { way, faults } of done) {
    for (const fault of faults) console.error(`${way}: ${fault}`);
  }
  const isGood = done.every(({ faults }) => faults.length === 0);
  if (options.contend === 0) return Number(!isGood);
  const { seconds, share, evictions } = await contend({
    url,
    schema: newSchema(),
    startupDelayMs: 2000,
    seconds: options.contend,
  });
  console.log(
    `\ntwo with "take": one worked ${Math.round(100 * share)} % of ` +
      `${seconds} s, ${evictions} evictions`,
  );
  return Number(!isGood);
}

function table(done: readonly Handover[]): string {
  const rows = [...Map.groupBy(done, ({ way }) => way)].map(([way, all]) => {
    const ms = all.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
    const seconds = (n: number) => `${(n / 1000).toFixed(2)} s`;
    return [
      way,
      String(all.length),
      seconds(ms[0]!),
      seconds(ms[Math.floor(ms.length / 2)]!),
      seconds(ms.at(-1)!),
      String(all.reduce((sum, { stored }) => sum + stored, 0)),
      String(all.reduce((sum, { faults }) => sum + faults.length, 0)),
    ];
  });
  const heads = [
    "owner",
    "times",
    "least",
    "median",
    "most",
    "stored",
    "faults",
  ];
  return formatTable(heads, rows).join("\n");
}

if (import.meta.main) {
  process.exitCode = await runProgram({ usage, readArguments, run: main });
}
