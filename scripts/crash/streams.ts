/** The streams of a load, and what a store says of them. */
import {
  isStreamStorageError,
  parseStreamId,
  type StreamId,
  type StreamStorage,
} from "../../mod.ts";
import { imageOf, type State } from "./operation.ts";
import type { Payloads } from "./payload.ts";

/**
 * Makes the stream's id. One of `every` streams is a media stream that is
 * uploaded.
 */
export function streamOf(nth: number, every: number): StreamId {
  const type = nth % every === every - 1 ? "ff" : "20";
  return parseStreamId(type + nth.toString(16).padStart(62, "0"));
}

/** Reads the stream; undefined if there is none. */
export async function readState(
  storage: StreamStorage,
  stream: StreamId,
  payloads: Payloads,
  isEphemeral: (stream: StreamId) => boolean | Promise<boolean>,
): Promise<State> {
  try {
    const stored = await storage.debugReadStreamData(stream);
    const ephemeral = await isEphemeral(stream);
    return imageOf({ ...stored, ephemeral }, payloads);
  } catch (error) {
    if (isStreamStorageError(error, "NOT_FOUND")) return undefined;
    throw error;
  }
}
