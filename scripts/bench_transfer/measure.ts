import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { migrate } from "../../src/database/migrations/mod.ts";
import {
  copyStreams,
  diffStreams,
  exportStreams,
  importStreams,
  verifyExport,
} from "../../src/operator/mod.ts";
import { openSession } from "../../tests/support/migration_connection.ts";
import type { Options } from "../bench_verify/arguments.ts";
import { fill } from "../bench_verify/fill.ts";

const from = "bench_from";
const to = "bench_to";
/** The other store differs in it. */
const otherPartitions = 16;
const MB = 1_000_000;

/** What is measured, in order; each is told a directory for its files. */
type Step = [name: string, run: (directory: string) => Promise<unknown>];

/** Fills a schema and prints a line for each run. */
export async function measure(url: string, options: Options): Promise<void> {
  const { streams, blocks, partitions, rounds } = options;
  const session = await openSession(url);
  await migrate(session, { schema: from, partitions });
  const bytes = await fill(session, from, options);
  console.log(
    `${streams} streams, ${blocks} blocks, ${Math.round(bytes / MB)} MB of ` +
      `payload, ${partitions} partitions to ${otherPartitions}`,
  );
  const emptied = async () => {
    await session.script(`DROP SCHEMA IF EXISTS ${to} CASCADE`);
    await migrate(session, { schema: to, partitions: otherPartitions });
    await session.script("CHECKPOINT");
  };
  const directory = await mkdtemp(join(tmpdir(), "stream-storage-bench-"));
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const [name, run] of stepsOf(url)) {
        if (name === "import" || name === "copy") await emptied();
        const started = performance.now();
        let peak = 0;
        const watch = setInterval(() => {
          peak = Math.max(peak, process.memoryUsage().rss);
        }, 20);
        await run(directory);
        clearInterval(watch);
        report(name, performance.now() - started, { streams, bytes, peak });
      }
      const { size } = await stat(join(directory, "streams"));
      console.log(`the file has ${Math.round(size / MB)} MB`);
      for (const name of ["streams", "streams.gz", "dump"]) {
        await rm(join(directory, name));
      }
    }
  } finally {
    await session.close();
    await rm(directory, { recursive: true });
  }
}

function stepsOf(url: string): Step[] {
  const source = { url, schema: from };
  const target = { url, schema: to, startupDelayMs: 0 };
  const fileIn = (directory: string, name = "streams") => join(directory, name);
  const expectAll = ({ problems }: { problems: number }) => {
    if (problems > 0) throw new Error(`Expected no problem, found ${problems}`);
  };
  return [
    ["pg_dump -Fc -Z0", (directory) => dump(url, fileIn(directory, "dump"))],
    ["export", async (directory) => {
      expectAll(await exportStreams({ ...source, file: fileIn(directory) }));
    }],
    ["export .gz", async (directory) => {
      const file = fileIn(directory, "streams.gz");
      expectAll(await exportStreams({ ...source, file }));
    }],
    ["verify the file", (directory) => verifyExport(fileIn(directory))],
    ["import", async (directory) => {
      expectAll(await importStreams({ ...target, file: fileIn(directory) }));
    }],
    ["copy", async () => {
      expectAll(await copyStreams({ from: source, to: target }));
    }],
    ["diff, all equal", async () => {
      const right = { url, schema: to };
      const { different } = await diffStreams({ left: source, right });
      if (different > 0) throw new Error(`${different} streams differ`);
    }],
  ];
}

async function dump(url: string, file: string): Promise<void> {
  const child = spawn(
    "pg_dump",
    ["-Fc", "-Z0", "--data-only", "-n", from, "-f", file, url],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`pg_dump ended with ${code}`);
}

function report(
  name: string,
  ms: number,
  { streams, bytes, peak }: { streams: number; bytes: number; peak: number },
): void {
  const seconds = ms / 1000;
  console.log(
    `${name.padEnd(18)} ${seconds.toFixed(2).padStart(6)} s  ` +
      `${Math.round(streams / seconds).toString().padStart(7)} streams/s  ` +
      `${Math.round(bytes / MB / seconds).toString().padStart(4)} MB/s  ` +
      `rss at most ${Math.round(peak / MB)} MB`,
  );
}
