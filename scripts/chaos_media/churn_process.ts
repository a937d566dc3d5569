/**
 * A process that opens one store after another on the same schema. Each store
 * takes over from the one before, whose callers are still at work. The argument
 * is a {@linkcode ChurnTask} as JSON. The process prints {@linkcode
 * ChurnMessage} lines, and ends when its input ends.
 */
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import {
  isStreamStorageError,
  type LogEvent,
  openStreamStorage,
  type PostgresStreamStorage,
} from "../../mod.ts";
import { checkStreams, type Streams } from "./check.ts";
import { Ledger, type Message } from "./ledger.ts";
import { type Memory, ownMemory } from "./memory.ts";
import type { Task } from "./store_process.ts";
import { sendLine } from "./send_line.ts";
import { cutting } from "./trimmed.ts";
import { work } from "./work.ts";

/** What the process should do. */
export interface ChurnTask extends Omit<Task, "authored"> {
  takeoverMs: number;
  sampleMs: number;
  /** Ends after this number of stores. */
  maxStores: number;
}

/** What the process sends. */
export type ChurnMessage =
  | ({ what: "sample" } & ChurnCounts & Memory)
  | { what: "broken"; text: string };

/** What the process has done so far. */
export interface ChurnCounts {
  /** Stores that it has opened. */
  stores: number;
  /** Calls that have succeeded, and calls that have failed. */
  done: number;
  failed: number;
  /** Blocks that it has read back and compared at takeovers. */
  compared: number;
  /** Blocks that it has found to be trimmed at takeovers. */
  trimmed: number;
}

const task: ChurnTask = JSON.parse(process.argv[2]!);
const { url, schema, mediaStorage, seed, ids } = task;
const ledger = new Ledger();
const counts = { stores: 0, done: 0, failed: 0, compared: 0, trimmed: 0 };
const broken = (text: string) => {
  sendLine({ what: "broken", text } satisfies ChurnMessage);
};
const stopped = new AbortController();

function record(message: Message): void {
  ledger.apply(message);
  if (message.what === "broken") broken(message.text);
  if (message.what !== "call") return;
  if (message.outcome === "done") counts.done++;
  else counts.failed++;
}

function open(): Promise<PostgresStreamStorage> {
  counts.stores++;
  return openStreamStorage({
    url,
    schema,
    mediaStorage,
    partitions: 1,
    startupDelayMs: 0,
    maxConnections: 6,
    trimming: cutting,
    logger: ({ code, message }: LogEvent) => {
      if (code === "trimming_refused") broken(message);
    },
  });
}

/**
 * Checks the streams while the bucket fails and the new store's workers run.
 */
async function check(storage: PostgresStreamStorage): Promise<void> {
  const streams: Streams = { storage, ledger, ids, broken };
  for (let failures = 0;;) {
    try {
      counts.compared += await checkStreams(streams);
      counts.trimmed = ledger.trimmed.blocks;
      return;
    } catch (error) {
      if (!isStreamStorageError(error) || ++failures > 100) throw error;
      await pause(100);
    }
  }
}

/** Works until another store takes over, or until the process should end. */
async function workOn(storage: PostgresStreamStorage): Promise<void> {
  const signal = AbortSignal.any([stopped.signal, storage.signal]);
  const authored = ids.map((id) => {
    const { version, blocks } = ledger.of(id);
    return { id, version, blocks, next: ledger.next(id) };
  });
  const name = `${seed} ${counts.stores}`;
  await work({ storage, signal, send: record }, { seed: name, authored, ids });
  await storage.close();
}

process.stdin.resume();
process.stdin.on("end", () => stopped.abort());
const sample = () => {
  sendLine(
    { what: "sample", ...counts, ...ownMemory() } satisfies ChurnMessage,
  );
};
const sampling = setInterval(sample, task.sampleMs);
let working = Promise.resolve();
for (let i = 0; i < task.maxStores && !stopped.signal.aborted; i++) {
  const storage = await open();
  await working;
  await check(storage);
  const before = counts.done;
  working = workOn(storage);
  do {
    await pause(task.takeoverMs, undefined, { signal: stopped.signal })
      .catch(() => {});
  } while (counts.done === before && !stopped.signal.aborted);
}
const last = await open();
await working;
await check(last);
await last.close();
clearInterval(sampling);
sample();
process.exit(0);
