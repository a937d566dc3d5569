/** The sample calls of the table of operations (storage/operations.ts). */
import type { OperationOptions } from "../storage/model.ts";
import {
  type OperationName,
  operations,
  sampleHash,
  type SampleStream,
} from "../storage/operations.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { StreamReader } from "../storage/stream_reader.ts";
import type { StreamStorage } from "../storage/stream_storage.ts";
import { mediaGenesis, newStreamId } from "./contract/support.ts";

/** The content of samples, unless a test gives another. */
const sampleContent: Uint8Array = new TextEncoder().encode("sample");

/** The stream that the sample call of an operation needs. */
export function sampleStreamOf(name: OperationName): SampleStream {
  const { kind, on } = operations[name];
  return on ?? (kind === "creates" ? "unknown" : "regular");
}

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

/** Makes the stream that sample calls need. */
export async function makeSampleStream(
  storage: StreamStorage,
  kind: SampleStream,
  content = sampleContent,
): Promise<StreamId> {
  const block = (number: bigint) => ({
    number,
    data: content,
    snapshot: content,
  });
  const id = newStreamId(kind === "upload" ? "media" : "space");
  switch (kind) {
    case "unknown":
      break;
    case "regular":
      await storage.createStreamStorage(id, block(0n));
      await storage.writeMiniblocks(
        id,
        [block(1n)],
        { generation: 2n, envelopes: [content] },
        { generation: 1n, size: 0 },
      );
      await storage.writeMiniblockCandidate(id, {
        ...block(2n),
        hash: sampleHash,
      });
      break;
    case "archive":
      await storage.createStreamArchiveStorage(id);
      await storage.writeArchiveMiniblocks(id, 0n, [block(0n)]);
      break;
    case "upload": {
      const { genesis } = mediaGenesis(2);
      const first = { ...genesis, snapshot: content };
      await storage.createEphemeralStreamStorage(id, first);
      for (const number of [1n, 2n]) {
        await storage.writeEphemeralMiniblock(id, { number, data: content });
      }
    }
  }
  return id;
}
