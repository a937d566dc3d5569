/**
 * A process that owns a store and writes until it is killed. The first line of
 * its input is a {@linkcode WriterPlan} as JSON. Before and after each call it
 * prints a {@linkcode WriterLine} as JSON, synchronously, so that a kill loses
 * no line. The line `go` lets it write, `pause` makes it wait.
 */
import { once } from "node:events";
import { writeSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { openStreamStorage, type StreamId } from "../../mod.ts";
import type { Outcome } from "./ledger.ts";
import type { Operation, State } from "./operation.ts";
import { Writers } from "./writers.ts";

/** What the process should do. */
export interface WriterPlan {
  url: string;
  schema: string;
  seed: string;
  streams: number;
  /** The number of the first call and payload. */
  firstId: number;
  /** The name of its sessions on the server. */
  applicationName: string;
  /** Default: the store's own. */
  operationTimeoutMs?: number;
}

/** What the process sends. */
export type WriterLine =
  | { type: "owner" }
  | { type: "begin"; call: number; operation: Operation }
  | { type: "end"; call: number; outcome: Outcome; ms: number }
  | { type: "paused" }
  | { type: "observed"; stream: StreamId; state: State | null }
  | { type: "stopped"; reason: string }
  | { type: "broken"; message: string };

function send(line: WriterLine): void {
  let bytes = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
  while (bytes.length > 0) bytes = bytes.subarray(writeSync(1, bytes));
}

async function main(): Promise<void> {
  const input = createInterface({ input: process.stdin });
  const [first] = await once(input, "line");
  const plan: WriterPlan = JSON.parse(first);
  const storage = await openStreamStorage({
    url: plan.url,
    schema: plan.schema,
    partitions: 4,
    startupDelayMs: 0,
    applicationName: plan.applicationName,
    ...(plan.operationTimeoutMs && {
      operationTimeoutMs: plan.operationTimeoutMs,
    }),
  });
  const { signal } = storage;
  signal.addEventListener("abort", () => {
    send({ type: "stopped", reason: String(signal.reason?.code) });
  });
  const writers = new Writers({
    ...plan,
    storage,
    listener: {
      begin: (call, operation) => send({ type: "begin", call, operation }),
      end: (call, outcome, ms) => send({ type: "end", call, outcome, ms }),
      observed: (stream, state) =>
        send({ type: "observed", stream, state: state ?? null }),
      broken: (error) => {
        // A process that another one has replaced can do nothing more.
        if (signal.aborted) return;
        send({ type: "broken", message: String(error) });
      },
    },
  });
  send({ type: "owner" });
  input.on("line", async (line) => {
    if (line === "go") return writers.resume();
    await writers.pause();
    send({ type: "paused" });
  });
}

await main();
