/** Makes one run, from starting the server to the result. */

import pg from "pg";
import { openFixtures } from "./fixtures.ts";
import { findTools } from "./limits/tools.ts";
import { describeEnvironment, type Environment } from "./environment.ts";
import type { BenchResult } from "./report/result.ts";
import { type RunOptions, runRounds, type WorkloadResult } from "./rounds.ts";
import { startServer } from "./server.ts";
import { serverCpu } from "./server_cpu.ts";
import { fullSizes, type Sizes, smokeSizes } from "./sizes.ts";
import type { BenchOptions } from "./options.ts";
import { openLoadedStores, scaleWorkloads } from "./workloads/scale.ts";
import { growthWorkloads, tableWorkloads } from "./workloads/table.ts";
import type { Workload } from "./workload.ts";
import { clientOptions } from "./client.ts";

/** What the caller decides about a run, beside the user's options. */
export interface RunContext {
  /** Default: the store's own. */
  partitions?: number;
  onProgress(text: string): void;
}

/** Measures what the options ask for. */
export async function runBenchmark(
  options: BenchOptions,
  context: RunContext,
): Promise<BenchResult> {
  await using stack = new AsyncDisposableStack();
  const url = options.url ??
    stack.use(
      await startServer({
        settled: !options.smoke,
        onProgress: context.onProgress,
      }),
    ).url;
  const { rounds, seconds } = options;
  const table = await measureTable(url, options, context);
  const scale = options.scale ? await measureScale(url, options, context) : [];
  return {
    environment: await lookAround(url, options),
    rounds,
    seconds,
    workloads: [...table, ...scale],
  };
}

async function measureTable(
  url: string,
  options: BenchOptions,
  context: RunContext,
): Promise<WorkloadResult[]> {
  await using fixtures = await openFixtures({
    ...context,
    url,
    sizes: sizesOf(options),
    tools: await findTools(options.pgbin),
  });
  return await measureAll(
    [...tableWorkloads(fixtures), ...growthWorkloads(fixtures)],
    options,
    { ...context, serverCpu: await serverCpu(fixtures.setup.direct) },
  );
}

async function measureScale(
  url: string,
  options: BenchOptions,
  { partitions, onProgress }: RunContext,
): Promise<WorkloadResult[]> {
  const sizes = sizesOf(options);
  const storage = partitions === undefined ? {} : { partitions };
  await using stores = await openLoadedStores(url, sizes, storage, onProgress);
  return await measureAll(scaleWorkloads(stores, sizes), options, {
    onProgress,
    serverCpu: await serverCpu(stores.few.target.setup.direct),
  });
}

function measureAll(
  workloads: readonly Workload[],
  { only, rounds, seconds, smoke }: BenchOptions,
  { onProgress, serverCpu }: Pick<RunOptions, "onProgress" | "serverCpu">,
): Promise<WorkloadResult[]> {
  const wanted = workloads.filter(({ id }) =>
    only.length === 0 || only.some((word) => id.startsWith(word))
  );
  return runRounds(wanted, {
    rounds,
    seconds,
    // Long enough for every connection to prepare its statements.
    warmUpSeconds: 2 * seconds,
    check: smoke,
    serverCpu,
    onProgress,
  });
}

function sizesOf({ smoke }: BenchOptions): Sizes {
  return smoke ? smokeSizes : fullSizes;
}

async function lookAround(
  url: string,
  { pgbin }: BenchOptions,
): Promise<Environment> {
  const client = new pg.Client(clientOptions(url));
  await client.connect();
  try {
    return await describeEnvironment(client, (await findTools(pgbin)).version);
  } finally {
    await client.end();
  }
}
