/** Stores and folders for tests of transfers. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  diffStreams,
  type StreamDifference,
  type StreamProblem,
} from "../../../src/operator/mod.ts";
import type { StreamStorageOptions } from "../../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import { openStreamStorage } from "../../../src/open_stream_storage.ts";
import type { DebugReadStreamDataResult } from "../../../src/storage/model.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import { openTestStorage } from "../storage.ts";

/** A schema without an owner. */
export interface EmptyStore extends AsyncDisposable {
  url: string;
  schema: string;
  /** The options that open or name it. */
  place: { url: string; schema: string; startupDelayMs: number };
  /** Opens a store on it for `work`, and closes the store. */
  with<T>(work: (storage: PostgresStreamStorage) => Promise<T>): Promise<T>;
}

/** Makes an empty store. */
export async function emptyStore(
  options: Partial<StreamStorageOptions> = {},
): Promise<EmptyStore> {
  const test = await openTestStorage(options);
  const { url, schema, storage } = test;
  await storage.close();
  const place = { url, schema, startupDelayMs: 0 };
  return {
    url,
    schema,
    place,
    with: async (work) => {
      await using storage = await openStreamStorage({
        ...place,
        maxConnections: 5,
        workerConcurrency: 0,
      });
      return await work(storage);
    },
    [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
  };
}

/** A directory that is removed with its content. */
export async function temporaryDirectory(): Promise<
  AsyncDisposable & { path: string; file(name: string): string }
> {
  const path = await mkdtemp(join(tmpdir(), "stream-storage-transfer-"));
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

/** The differences between two stores, by stream. */
export async function differences(
  left: { url: string; schema: string },
  right: { url: string; schema: string },
  streamIds?: readonly StreamId[],
): Promise<Record<string, StreamDifference["status"]>> {
  const found: Record<string, StreamDifference["status"]> = {};
  await diffStreams({
    left: { url: left.url, schema: left.schema },
    right: { url: right.url, schema: right.schema },
    ...(streamIds && { streamIds }),
    onDifference: ({ streamId, status }) => found[streamId] = status,
  });
  return found;
}

/** Collects reported problems. */
export function problems(): {
  found: Record<string, StreamProblem["problem"]>;
  onProblem: (problem: StreamProblem) => void;
} {
  const found: Record<string, StreamProblem["problem"]> = {};
  return {
    found,
    onProblem: ({ streamId, problem }) => found[streamId] = problem,
  };
}

/** Everything that a store has of a stream; undefined if it has none. */
export async function contentsOf(
  storage: PostgresStreamStorage,
  streamId: StreamId,
): Promise<DebugReadStreamDataResult | undefined> {
  try {
    return await storage.debugReadStreamData(streamId);
  } catch (error) {
    if ((error as { code?: string }).code === "NOT_FOUND") return undefined;
    throw error;
  }
}
