/**
 * A process that works on media streams until it is killed or overtaken, or
 * until its input ends. Its argument is a {@linkcode Task} as JSON. Before and
 * after each change it prints a {@linkcode Message} as a line of JSON.
 */
import process from "node:process";
import { type LogEvent, openStreamStorage, type StreamId } from "../../mod.ts";
import type { MediaStorageOptions } from "../../src/postgres/media_options.ts";
import { Random } from "../../tests/support/random.ts";
import type { Known } from "./actor.ts";
import type { Message } from "./ledger.ts";
import { sendLine } from "./send_line.ts";
import { trimmingsOf } from "./trimmed.ts";
import { work } from "./work.ts";

/** What the process should do. */
export interface Task {
  url: string;
  schema: string;
  mediaStorage: MediaStorageOptions;
  seed: string;
  /**
   * The streams that this process changes; other processes change the others.
   */
  authored: Known[];
  /** The ids of all streams. */
  ids: StreamId[];
}

const task: Task = JSON.parse(process.argv[2]!);
const send = (message: Message) => sendLine(message);

/**
 * Reports a refused trimming, because every stream must be one that can be
 * trimmed.
 */
function reportRefusal({ code, message }: LogEvent): void {
  if (code === "trimming_refused") send({ what: "broken", text: message });
}

process.stdin.resume();
const trimmings = trimmingsOf(task.ids);
const random = new Random(`${task.seed} process`);
const storage = await openStreamStorage({
  url: task.url,
  schema: task.schema,
  mediaStorage: task.mediaStorage,
  partitions: 1,
  startupDelayMs: 0,
  maxConnections: 6,
  trimming: trimmings[random.between(0, trimmings.length - 1)]!,
  logger: reportRefusal,
});
const stopRequest = new AbortController();
process.stdin.on("end", () => stopRequest.abort());
const signal = AbortSignal.any([stopRequest.signal, storage.signal]);
send({ what: "open" });
await work({ storage, signal, send }, task);
await storage.close();
send({ what: "rss", mb: Math.round(process.memoryUsage().rss / 1e6) });
process.exit(0);
