import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { migrate } from "../../src/database/migrations/mod.ts";
import { verify, type VerifyLevel } from "../../src/operator/mod.ts";
import { openSession } from "../../tests/support/migration_connection.ts";
import type { Options } from "./arguments.ts";
import { fill } from "./fill.ts";

const schema = "bench_verify";
const levels: readonly VerifyLevel[] = ["quick", "structure", "deep"];
const MB = 1_000_000;

/** Fills the schema and prints a line for each run. */
export async function measure(url: string, options: Options): Promise<void> {
  const { streams, blocks, partitions, rounds } = options;
  const session = await openSession(url);
  await migrate(session, { schema, partitions });
  const started = performance.now();
  const bytes = await fill(session, schema, options);
  await session.close();
  console.log(
    `${streams} streams, ${blocks} blocks, ${Math.round(bytes / MB)} MB of ` +
      `payload, ${partitions} partitions; filled in ${secondsSince(started)} s`,
  );
  for (let round = 1; round <= rounds; round++) {
    for (const level of levels) {
      report(`verify ${level}`, await verified(url, level), streams, bytes);
    }
    report("pg_dump -Fc -Z0", await dumped(url), streams, bytes);
  }
}

async function verified(url: string, level: VerifyLevel): Promise<number> {
  const run = verify({ url, schema, level });
  const started = performance.now();
  const findings = await Array.fromAsync(run);
  if (findings.length > 0) {
    throw new Error(
      `Expected no finding, found ${JSON.stringify(findings[0])}`,
    );
  }
  return Number(secondsSince(started));
}

async function dumped(url: string): Promise<number> {
  const started = performance.now();
  const child = spawn(
    "pg_dump",
    ["-Fc", "-Z0", "--data-only", "-n", schema, url],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  child.stdout.resume();
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`pg_dump ended with ${code}`);
  return Number(secondsSince(started));
}

function report(
  name: string,
  seconds: number,
  streams: number,
  bytes: number,
): void {
  const rss = Math.round(process.memoryUsage().rss / MB);
  console.log(
    `${name.padEnd(18)} ${seconds.toFixed(2).padStart(6)} s  ` +
      `${Math.round(streams / seconds).toString().padStart(7)} streams/s  ` +
      `${Math.round(bytes / MB / seconds).toString().padStart(4)} MB/s  ` +
      `rss ${rss} MB`,
  );
}

function secondsSince(started: number): string {
  return ((performance.now() - started) / 1000).toFixed(2);
}
