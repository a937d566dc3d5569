/** A stream's content as a store reports it, to find writes and to compare. */
import { isStreamStorageError } from "../../../src/storage/errors.ts";
import { bytesToHex, type StreamId } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import type { Facts } from "./write_calls.ts";

async function contentOf(storage: StreamStorage, streamId: StreamId) {
  try {
    const content = await storage.debugReadStreamData(streamId);
    const isEphemeral = await storage.isStreamEphemeral(streamId);
    return { ...content, streamId: undefined, isEphemeral };
  } catch (error) {
    if (isStreamStorageError(error, "NOT_FOUND")) return undefined;
    throw error;
  }
}

/** The facts that decide which writes a stream accepts; undefined: no stream. */
export async function factsOf(
  storage: StreamStorage,
  streamId: StreamId,
): Promise<Facts | undefined> {
  const content = await contentOf(storage, streamId);
  if (content === undefined) return undefined;
  const { miniblocks, events } = content;
  return {
    isEphemeral: content.isEphemeral,
    latest: content.latestSnapshotMiniblockNum,
    numbers: miniblocks.map(({ number }) => number),
    snapshots: miniblocks.filter(({ snapshot }) => snapshot !== undefined)
      .map(({ number }) => number),
    events: events.length === 0 ? undefined : events.length - 1,
  };
}

/**
 * A stream's whole content as a text without its id, to compare a store with its
 * twin. Long payloads are cut, because they differ at their start.
 */
export async function describeContent(
  storage: StreamStorage,
  streamId: StreamId,
): Promise<string> {
  return show(await contentOf(storage, streamId));
}

function show(value: unknown): string {
  if (value instanceof Uint8Array) {
    return `${value.length}:${bytesToHex(value.subarray(0, 64))}`;
  }
  if (Array.isArray(value)) return `[${value.map(show).join(" ")}]`;
  if (typeof value !== "object" || value === null) return String(value);
  const fields = Object.entries(value).map(([key, field]) =>
    `${key}=${show(field)}`
  );
  return `{${fields.sort().join(" ")}}`;
}
