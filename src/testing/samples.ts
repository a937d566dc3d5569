/** The sample calls of the table of operations (storage/operations.ts). */
import type { OperationOptions } from "../storage/model.ts";
import { type OperationName, operations } from "../storage/operations.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { StreamReader } from "../storage/stream_reader.ts";
import type { StreamStorage } from "../storage/stream_storage.ts";

/** The content of samples, unless a test gives another. */
const sampleContent: Uint8Array = new TextEncoder().encode("sample");

/** The arguments of the sample call, without its options. */
export function sampleArguments(
  name: OperationName,
  streamId: StreamId,
  content = sampleContent,
): unknown[] {
  const { kind, sample } = operations[name];
  return [...(kind === "lists" ? [] : [streamId]), ...sample(content)];
}

/**
 * Makes the sample call, on a reader only if the operation reads; collects
 * blocks that are returned one by one.
 */
export function callSample(
  storage: StreamReader & Partial<StreamStorage>,
  name: OperationName,
  streamId: StreamId,
  options?: OperationOptions,
): Promise<unknown> {
  const args = sampleArguments(name, streamId);
  const method = storage[name] as (...args: unknown[]) => unknown;
  const result = method.apply(storage, [...args, options]);
  return name === "streamMiniblocks"
    ? Array.fromAsync(result as AsyncIterable<unknown>)
    : result as Promise<unknown>;
}
