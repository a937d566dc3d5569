/**
 * A process that works on media streams until it is killed, overtaken, or told
 * to end by the end of its input. Its argument is a {@linkcode Task} as JSON; it
 * prints what it does, a {@linkcode Told} a line, before and after it does it.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { type LogEvent, openStreamStorage, type StreamId } from "../../mod.ts";
import type { MediaStorageOptions } from "../../src/postgres/media_options.ts";
import { Random } from "../demo/random.ts";
import { author, janitor, type Known, reader } from "./actor.ts";
import { isWritten } from "./contents.ts";
import type { Told } from "./ledger.ts";
import { trimmingsOf } from "./trimmed.ts";
import { writer } from "./writer.ts";

/** What the process is to do. */
export interface Task {
  url: string;
  schema: string;
  mediaStorage: MediaStorageOptions;
  seed: string;
  /** Those that it changes; others do so with the rest. */
  authored: Known[];
  /** All. */
  ids: StreamId[];
}

const task: Task = JSON.parse(process.argv[2]!);

/** Written through at once: what is told must outlive the process. */
function tell(told: Told): void {
  let line = new TextEncoder().encode(`${JSON.stringify(told)}\n`);
  while (line.length > 0) {
    try {
      line = line.subarray(writeSync(1, line));
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") throw error;
    }
  }
}

/** No stream is ever one that cannot be trimmed. */
function tellOfRefusals({ code, message }: LogEvent): void {
  if (code === "trimming_refused") tell({ what: "broken", text: message });
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
  logger: tellOfRefusals,
});
const told = new AbortController();
process.stdin.on("end", () => told.abort());
const signal = AbortSignal.any([told.signal, storage.signal]);
tell({ what: "open" });
const groundOf = (name: string) => ({
  storage,
  signal,
  tell,
  random: new Random(`${task.seed} ${name}`),
});
await Promise.all([
  ...task.authored.map((known) =>
    (isWritten(known.id) ? writer : author)(groundOf(known.id), known)
  ),
  reader(groundOf("reader"), task.authored),
  janitor(groundOf("janitor"), task.ids),
]);
await storage.close();
tell({ what: "rss", mb: Math.round(process.memoryUsage().rss / 1e6) });
process.exit(0);
