/**
 * The parts of a verification that can run concurrently: `es`, and each
 * partition. A job continues at its cursor. So a resumed run repeats at most
 * one page of each job that was running.
 */

import type { StreamId } from "../../storage/stream_id.ts";
import type { Finding } from "./findings.ts";
import type { Ground } from "./ground.ts";
import type { Throttle } from "./throttle.ts";
import { readBlocks } from "./deep/read_blocks.ts";
import { type ObjectSource, readObject } from "./deep/read_objects.ts";
import type { DeepEvidence, DeepPage } from "./deep/suspects.ts";
import {
  type Choice,
  givenPage,
  type Page,
  partitionPage,
  streamsPage,
} from "./walk.ts";

/**
 * A step of a job: its findings and, at the end of a page, where to continue.
 */
export interface Step {
  findings: readonly Finding[];
  /** Bytes of blocks that were read. */
  bytes: number;
  page?: Pick<Page, "next" | "streams" | "blocks" | "events">;
}

/** A part of a verification. */
export interface Job {
  name: string;
  /** Runs the job from the cursor on. */
  run(after: string): AsyncGenerator<Step>;
}

/** The context that all jobs share. */
export interface JobContext {
  ground: Ground;
  choice: Choice;
  throttle: Throttle;
  signal: AbortSignal | undefined;
  /** How to read blocks; undefined: blocks are not read. */
  deep: Deep | undefined;
}

/** How to read blocks. */
export interface Deep {
  evidence: DeepEvidence;
  /** How many of the last blocks of each stream to read; undefined: all. */
  since: bigint | undefined;
  /**
   * The source of blocks in object storage; undefined: it is not configured,
   * and those blocks are not read.
   */
  objects: ObjectSource | undefined;
}

/** The name of the job that goes through `es`. */
const streamsJob = "es";

/** Roughly the cost of a row of any table for the server, in bytes. */
const bytesPerRow = 100;

/** Goes through `es`. */
export function jobOverStreams(
  context: JobContext,
  usable: ReadonlySet<string>,
): Job {
  const { ground, choice } = context;
  return {
    name: streamsJob,
    run: (from) =>
      pages(
        context,
        from,
        (after) => streamsPage(ground, { after, choice, usable }),
      ),
  };
}

/** Goes through a partition's tables. */
export function jobOverPartition(context: JobContext, suffix: string): Job {
  const { ground, choice } = context;
  return {
    name: suffix,
    run: (from) =>
      pages(
        context,
        from,
        (after) => partitionPage(ground, suffix, { after, choice }),
        suffix,
      ),
  };
}

/** Examines given streams of a partition. */
export function jobOverGiven(
  context: JobContext,
  suffix: string,
  streamIds: readonly StreamId[],
): Job {
  return {
    name: suffix,
    run: (from) =>
      pages(
        context,
        from,
        () => givenPage(context.ground, suffix, streamIds),
        suffix,
      ),
  };
}

async function* pages(
  context: JobContext,
  from: string,
  read: (after: string) => Promise<Page>,
  suffix?: string,
): AsyncGenerator<Step> {
  const { ground, throttle, signal, deep } = context;
  for (let after: string | undefined = from; after !== undefined;) {
    signal?.throwIfAborted();
    const page: Page = await read(after);
    yield { findings: page.findings, bytes: 0 };
    const rows = page.streams + Number(page.blocks + page.events);
    await throttle.spend(rows * bytesPerRow, signal);
    if (deep && suffix !== undefined) {
      for await (const step of readPage(ground, deep, suffix, page)) {
        yield step;
        signal?.throwIfAborted();
        await throttle.spend(step.bytes, signal);
      }
    }
    yield { findings: [], bytes: 0, page };
    after = page.next;
  }
}

async function* readPage(
  ground: Ground,
  { evidence, since, objects }: Deep,
  suffix: string,
  { readable: streams, outside }: Page,
): AsyncGenerator<DeepPage> {
  if (streams.length > 0) {
    yield* readBlocks(ground, evidence, { suffix, streams, since });
  }
  if (objects === undefined) return;
  for (const stream of outside) {
    const { first, last } = stream;
    const begin = since === undefined ? first : last - since + 1n;
    const from = begin > first ? begin : first;
    yield* readObject(objects, evidence, { ...stream, from });
  }
}

/** Runs jobs concurrently, and yields their steps as they are made. */
export async function* runJobs(
  jobs: readonly Job[],
  { concurrency, cursorOf }: {
    concurrency: number;
    cursorOf: (job: Job) => string;
  },
): AsyncGenerator<Step & { job: Job }> {
  const waiting = [...jobs];
  const running = new Map<Job, Promise<Next>>();
  const open = new Map<Job, AsyncGenerator<Step>>();
  const ask = (job: Job, steps: AsyncGenerator<Step>) => {
    const next = steps.next().then((result) => ({ job, steps, result }));
    // If another job fails first, this one's rejection must not go unhandled.
    next.catch(() => {});
    running.set(job, next);
  };
  try {
    for (;;) {
      while (running.size < concurrency && waiting.length > 0) {
        const job = waiting.shift()!;
        const steps = job.run(cursorOf(job));
        open.set(job, steps);
        ask(job, steps);
      }
      if (running.size === 0) return;
      const { job, steps, result } = await Promise.race(running.values());
      running.delete(job);
      if (result.done) open.delete(job);
      else {
        yield { ...result.value, job };
        ask(job, steps);
      }
    }
  } finally {
    await Promise.allSettled([...open.values()].map((job) => job.return(null)));
  }
}

interface Next {
  job: Job;
  steps: AsyncGenerator<Step>;
  result: IteratorResult<Step, unknown>;
}
