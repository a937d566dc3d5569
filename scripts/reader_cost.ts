/**
 * Measures what readers cost the owner: how many events a store under full load
 * writes in a second when it is alone, beside idle readers, and beside readers
 * at work. The three take turns on one server. The program prints a table. It
 * also prints the server's CPU time for an event and for a read, which other
 * programs on the machine disturb less.
 *
 * ```sh
 * deno task reader-cost
 * deno task reader-cost --readers 10 --reads 1000 --rounds 10
 * ```
 */
import { setTimeout as delay } from "node:timers/promises";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { serverCpu } from "../bench/server_cpu.ts";
import type { PostgresStreamStorage, StreamId } from "../mod.ts";
import { newStreamId } from "../src/testing/contract/support.ts";
import { createTestStreamStorage } from "../src/testing/mod.ts";
import { parseArguments, runProgram } from "./arguments.ts";
import type { ReadersPlan } from "./reader_cost/readers_process.ts";

const usage = `Usage: deno task reader-cost [options]

  --readers N    how many readers, each opened as a user would; default 10
  --reads N      reads per second, of all readers together; default 500
  --rounds N     how many rounds; default 5
  --seconds N    seconds of each measurement in a round; default 3
  --help         print this`;

interface Options {
  readers: number;
  reads: number;
  rounds: number;
  seconds: number;
  help: boolean;
}

/** How many streams the load writes to at a time. */
const writers = 64;
/** How many events a minipool gets before a block takes them. */
const generationSize = 50;
const payload = new Uint8Array(300).fill(7);

/**
 * Writes events of a stream, one at a time, and a block after each generation.
 */
async function write(
  storage: PostgresStreamStorage,
  id: StreamId,
  progress: { events: number; isOver: boolean },
): Promise<void> {
  for (let generation = 1n;; generation++) {
    for (let slot = 0; slot < generationSize; slot++) {
      if (progress.isOver) return;
      await storage.writeEvent(id, generation, slot, payload);
      progress.events++;
    }
    await storage.writeMiniblocks(
      id,
      [{ number: generation, data: payload, snapshot: payload }],
      { generation: generation + 1n, envelopes: [] },
      { generation, size: generationSize },
    );
  }
}

/** The process with the readers. */
class Readers implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #answers: Interface;

  constructor(plan: ReadersPlan) {
    const program = fileURLToPath(
      new URL("reader_cost/readers_process.ts", import.meta.url),
    );
    const flags = "Deno" in globalThis ? ["-A", "--no-check"] : [];
    this.#child = spawn(process.execPath, ["run", ...flags, program], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#answers = createInterface({ input: this.#child.stdout! });
    this.#child.stdin!.write(`${JSON.stringify(plan)}\n`);
  }

  /** Resolves when all readers are open. */
  async opened(): Promise<void> {
    await once(this.#answers, "line");
  }

  /** Sets the reads per second. Resolves with the reads since the last call. */
  async read(rate: number): Promise<number> {
    const answered = once(this.#answers, "line");
    this.#child.stdin!.write(`${rate}\n`);
    const [reads] = await answered;
    return Number(reads);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.stdin!.end();
    await ended;
  }
}

const median = (values: number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** The result of some seconds. */
interface Sample {
  /** Events per second. */
  rate: number;
  events: number;
  reads: number;
  /** The server's CPU time; undefined if the system does not show it. */
  us: number | undefined;
}

/** Writes to streams as fast as it can, and measures the rate. */
class Load implements AsyncDisposable {
  readonly #progress = { events: 0, isOver: false };
  readonly #writing: Promise<void>[];
  readonly #client: pg.Client;
  readonly #ms: number;

  constructor(
    storage: PostgresStreamStorage,
    streams: readonly StreamId[],
    { client, seconds }: { client: pg.Client; seconds: number },
  ) {
    this.#writing = streams.map((id) => write(storage, id, this.#progress));
    this.#client = client;
    this.#ms = seconds * 1000;
  }

  async measure(readers?: Readers, rate = 0): Promise<Sample> {
    await readers?.read(rate);
    const meter = await serverCpu(this.#client);
    const [before, since] = [this.#progress.events, performance.now()];
    await delay(this.#ms); // the writers write meanwhile: this is measured
    const events = this.#progress.events - before;
    const us = meter?.();
    const seconds = (performance.now() - since) / 1000;
    const reads = await readers?.read(0) ?? 0;
    return { rate: events / seconds, events, reads, us };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#progress.isOver = true;
    await Promise.all(this.#writing);
  }
}

async function run(options: Options): Promise<number> {
  const { readers: count, reads: rate, rounds } = options;
  const url = process.env["STREAM_STORAGE_TEST_URL"];
  await using test = await createTestStreamStorage({
    ...(url && { url }),
    partitions: 4,
    startupDelayMs: 0,
  });
  const { storage, schema } = test;
  const streams = Array.from({ length: writers }, () => newStreamId("channel"));
  const genesis = { number: 0n, data: payload, snapshot: payload };
  await Promise.all(
    streams.map((id) => storage.createStreamStorage(id, genesis)),
  );
  const client = new pg.Client({ connectionString: test.url });
  await client.connect();
  const kinds = { alone: [], present: [], beside: [] } as Record<
    "alone" | "present" | "beside",
    Sample[]
  >;
  {
    await using load = new Load(storage, streams, { ...options, client });
    const plan = { url: test.url, schema, readers: count, streams };
    for (let round = 0; round < rounds; round++) {
      kinds.alone.push(await load.measure());
      await using readers = new Readers(plan);
      await readers.opened();
      // Readers connect and prepare statements only once; that is not measured.
      await load.measure(readers, rate);
      kinds.present.push(await load.measure(readers));
      kinds.beside.push(await load.measure(readers, rate));
    }
  }
  await client.end();
  report(kinds, options);
  return 0;
}

function report(
  { alone, present, beside }: Record<"alone" | "present" | "beside", Sample[]>,
  { readers, seconds, rounds }: Options,
): void {
  // Ratios are taken within a round, because the machine also does other work.
  const line = (name: string, samples: Sample[]) => {
    const changes = samples.map((its, i) =>
      100 * (its.rate / alone[i]!.rate - 1)
    );
    const [least, most] = [Math.min(...changes), Math.max(...changes)];
    console.log(
      `${name.padEnd(28)} ` +
        `${median(samples.map((its) => its.rate)).toFixed(0).padStart(7)} ` +
        `events/s ${median(changes).toFixed(1).padStart(6)} % ` +
        `(${least.toFixed(0)} to ${most.toFixed(0)})`,
    );
  };
  line("alone", alone);
  line(`${readers} readers, idle`, present);
  const reads = beside.reduce((sum, its) => sum + its.reads, 0);
  line(
    `${readers} readers, ${(reads / (rounds * seconds)).toFixed(0)} reads/s`,
    beside,
  );
  if (alone[0]?.us === undefined) return;
  const anEvent = (samples: Sample[]) =>
    median(samples.map(({ us, events }) => us! / events));
  const aRead = beside.map(({ us, events, reads }, i) =>
    (us! - events * alone[i]!.us! / alone[i]!.events) / reads
  );
  console.log(
    `CPU time of the server: an event ${anEvent(alone).toFixed(0)} us ` +
      `alone, ${anEvent(present).toFixed(0)} us beside idle readers; ` +
      `a read ${median(aRead).toFixed(0)} us`,
  );
}

/** Reads a whole number of at least 1. */
function numberOf(name: string, text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new Error(`Expected a whole number after --${name}`);
}

function readArguments(args: string[]): Options {
  const { values } = parseArguments({
    args,
    options: {
      readers: { type: "string", default: "10" },
      reads: { type: "string", default: "500" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "3" },
      help: { type: "boolean", default: false },
    },
  });
  return {
    readers: numberOf("readers", values.readers),
    reads: numberOf("reads", values.reads),
    rounds: numberOf("rounds", values.rounds),
    seconds: numberOf("seconds", values.seconds),
    help: values.help,
  };
}

process.exitCode = await runProgram({ usage, readArguments, run });
