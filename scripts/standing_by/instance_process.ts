/**
 * One instance of a pair. It opens a store, and writes events into its stream
 * as fast as the store acknowledges them. It prints what happens as lines of
 * JSON, and closes when its standard input has a line.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import {
  isStreamStorageError,
  openStreamStorage,
  parseStreamId,
  type PostgresStreamStorage,
  type StreamId,
} from "../../mod.ts";

/** What the instance should do: the first line of its input. */
export interface InstancePlan {
  url: string;
  schema: string;
  whenOwned: "take" | "wait";
  startupDelayMs: number;
  /** Hex digits that make its stream's id unique. */
  name: string;
}

/** What the instance prints. */
export type InstanceLine =
  | { type: "log"; code: string }
  /** It owns the schema, and its first write was acknowledged. */
  | { type: "works" }
  | { type: "acknowledged"; events: number }
  | { type: "stopped"; reason: string }
  | { type: "closed" };

const send = (line: InstanceLine) => console.log(JSON.stringify(line));

/** Returns the stream of the instance with this name. */
export function streamOf(name: string): StreamId {
  return parseStreamId(`20${name}`.padEnd(64, "0"));
}

async function main(): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  const input = lines[Symbol.asyncIterator]();
  const { value } = await input.next();
  const { name, ...plan }: InstancePlan = JSON.parse(value!);
  try {
    await using storage = await openStreamStorage({
      ...plan,
      partitions: 2,
      maxConnections: 4,
      workerConcurrency: 0,
      logger: ({ code }) => send({ type: "log", code }),
    });
    const close = input.next();
    await Promise.race([close, write(storage, streamOf(name))]);
  } catch (error) {
    send({ type: "stopped", reason: reasonOf(error) });
  }
  send({ type: "closed" });
  lines.close();
  process.stdin.destroy();
}

/** Writes until a write is refused. */
async function write(
  storage: PostgresStreamStorage,
  id: StreamId,
): Promise<never> {
  const data = new Uint8Array(100);
  await storage.createStreamStorage(id, { number: 0n, data });
  send({ type: "works" });
  let sentAt = performance.now();
  for (let slot = 0;;) {
    try {
      await storage.writeEvent(id, 1n, slot, data);
      slot++;
    } catch (error) {
      // A retryable error: the network is away.
      if (storage.signal.aborted || !isRetryable(error)) throw error;
    }
    if (performance.now() - sentAt < 20) continue;
    sentAt = performance.now();
    send({ type: "acknowledged", events: slot });
  }
}

function isRetryable(error: unknown): boolean {
  return isStreamStorageError(error) && error.retryable;
}

function reasonOf(error: unknown): string {
  return isStreamStorageError(error)
    ? String(error.details["reason"])
    : String(error);
}

if (import.meta.main) await main();
