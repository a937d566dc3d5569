/**
 * A process that opens stores and makes calls on request. The first line of its
 * input is a {@linkcode RemotePlan} as JSON, each other line a {@linkcode
 * RemoteRequest}. Each line of its output is a {@linkcode RemoteAnswer}. The
 * first answer, 0, says that all stores are open.
 */
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import {
  isStreamStorageError,
  type MiniblockDescriptor,
  openStreamStorage,
  type PostgresStreamStorage,
  type StreamId,
} from "../../mod.ts";

/** What the process opens. */
export interface RemotePlan {
  url: string;
  /** Each gets a store, whose sessions have the schema's name. */
  schemas: string[];
  operationTimeoutMs: number;
}

/** A call on a stream; the bytes of blocks and events identify them. */
export type RemoteCall =
  & { stream: StreamId }
  & (
    | { kind: "create" }
    | { kind: "delete" }
    | { kind: "event"; generation: number; slot: number }
    | { kind: "blocks"; first: number; last: number; snapshot: boolean }
    | { kind: "trim"; to: number }
    | { kind: "backfill"; first: number; last: number }
    | { kind: "chunk"; number: number }
  );

/** Calls that are made at the same time. */
export interface RemoteRequest {
  id: number;
  schema: string;
  calls: RemoteCall[];
}

/** How a call failed. */
export interface RemoteFailure {
  message: string;
  outcome: string;
  retryable: boolean;
}

/** How the calls of a request ended. */
export interface RemoteAnswer {
  id: number;
  failures: (RemoteFailure | null)[];
}

const bytes = (text: string) => new TextEncoder().encode(text);

function blocks(
  first: number,
  last: number,
  hasSnapshot: boolean,
): MiniblockDescriptor[] {
  return Array.from({ length: last - first + 1 }, (_, i) => ({
    number: BigInt(first + i),
    data: bytes(`block ${first + i}`),
    ...(hasSnapshot && { snapshot: bytes(`snapshot ${first + i}`) }),
  }));
}

function perform(
  storage: PostgresStreamStorage,
  call: RemoteCall,
): Promise<void> {
  const { stream } = call;
  switch (call.kind) {
    case "create":
      return storage.createStreamStorage(stream, blocks(0, 0, true)[0]!);
    case "delete":
      return storage.deleteStream(stream);
    case "event": {
      const { generation, slot } = call;
      const envelope = bytes(`event ${slot}`);
      return storage.writeEvent(stream, BigInt(generation), slot, envelope);
    }
    case "blocks": {
      const { first, last, snapshot } = call;
      return storage.writeMiniblocks(
        stream,
        blocks(first, last, snapshot),
        { generation: BigInt(last + 1), envelopes: [] },
        { generation: BigInt(first) },
      );
    }
    case "trim":
      return storage.trimStream(stream, BigInt(call.to), []);
    case "backfill":
      return storage.writePrecedingMiniblocks(
        stream,
        blocks(call.first, call.last, false),
      );
    case "chunk":
      return storage.writeEphemeralMiniblock(
        stream,
        blocks(call.number, call.number, false)[0]!,
      );
  }
}

async function failureOf(
  storage: PostgresStreamStorage,
  call: RemoteCall,
): Promise<RemoteFailure | null> {
  try {
    await perform(storage, call);
    return null;
  } catch (error) {
    if (!isStreamStorageError(error)) throw error;
    const { message, outcome, retryable } = error;
    return { message, outcome: String(outcome), retryable };
  }
}

function answer(line: RemoteAnswer): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function main(): Promise<void> {
  const input = createInterface({ input: process.stdin });
  input.on("close", () => process.exit());
  const [first] = await once(input, "line");
  const { url, schemas, operationTimeoutMs }: RemotePlan = JSON.parse(first);
  const stores = new Map(
    await Promise.all(schemas.map(async (schema) => {
      const storage = await openStreamStorage({
        url,
        schema,
        applicationName: schema,
        operationTimeoutMs,
        partitions: 1,
        maxConnections: 3,
        startupDelayMs: 0,
        workerConcurrency: 0,
      });
      return [schema, storage] as const;
    })),
  );
  input.on("line", async (line) => {
    const { id, schema, calls } = JSON.parse(line) as RemoteRequest;
    const storage = stores.get(schema)!;
    answer({
      id,
      failures: await Promise.all(
        calls.map((call) => failureOf(storage, call)),
      ),
    });
  });
  answer({ id: 0, failures: [] });
}

await main();
