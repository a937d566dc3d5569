import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { migrate } from "../../src/database/migrations/mod.ts";
import { openSession } from "../../tests/support/migration_connection.ts";
import type { Options } from "../bench_verify/arguments.ts";
import { fill } from "../bench_verify/fill.ts";

const from = "bench_from";
const to = "bench_to";
/** The partitions of the other store, so that streams change their places. */
const otherPartitions = 16;
const MB = 1_000_000;
const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** Fills a schema and prints a line for each run. Each run is a process. */
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
      for (const [name, command] of stepsOf(url, directory)) {
        if (name === "import" || name === "copy") await emptied();
        const started = performance.now();
        const peak = await run(command, url);
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

/** The steps in their order, each with its command. */
function stepsOf(url: string, directory: string): [string, string[]][] {
  const deno = "Deno" in globalThis ? ["-A", "--no-check"] : [];
  const cli = (...args: string[]) => [
    ...[process.execPath, "run", ...deno, main, ...args],
  ];
  const file = join(directory, "streams");
  const dump = join(directory, "dump");
  const both = ["--from-schema", from, "--to-schema", to];
  return [
    ["pg_dump -Fc -Z0", [
      ...["pg_dump", "-Fc", "-Z0", "--data-only", "-n", from, "-f", dump, url],
    ]],
    ["export", cli("export", "--schema", from, file)],
    ["export .gz", cli("export", "--schema", from, `${file}.gz`)],
    ["import --check", cli("import", "--check", file)],
    ["import", cli("import", "--schema", to, file)],
    ["copy", cli("copy", ...both)],
    ["diff, all equal", cli("diff", ...both)],
  ];
}

/**
 * Runs a command that must succeed. Resolves with the most memory that it used;
 * undefined if the system does not show it.
 */
async function run(
  [program, ...args]: string[],
  url: string,
): Promise<number | undefined> {
  const child = spawn(program!, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, STREAM_STORAGE_URL: url, NO_COLOR: "1" },
  });
  let errorText = "";
  child.stderr.on("data", (data) => errorText += data);
  let peak: number | undefined;
  const watch = setInterval(async () => {
    const status = await readFile(`/proc/${child.pid}/status`, "utf8")
      .catch(() => "");
    const kB = /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1];
    if (kB !== undefined) peak = Number(kB) * 1024;
  }, 100);
  const [code] = await once(child, "close");
  clearInterval(watch);
  if (code !== 0) {
    throw new Error(`${program} ended with ${code}: ${errorText}`);
  }
  return peak;
}

function report(
  name: string,
  ms: number,
  { streams, bytes, peak }: {
    streams: number;
    bytes: number;
    peak: number | undefined;
  },
): void {
  const seconds = ms / 1000;
  const memory = peak === undefined
    ? "unknown"
    : `${Math.round(peak / MB)} MB at most`;
  console.log(
    `${name.padEnd(16)} ${seconds.toFixed(2).padStart(6)} s  ` +
      `${Math.round(streams / seconds).toString().padStart(6)} streams/s  ` +
      `${Math.round(bytes / MB / seconds).toString().padStart(4)} MB/s  ` +
      `memory ${memory}`,
  );
}
