/** Ids and payloads, made before anything is timed. */

import { parseStreamId, type StreamId } from "../src/storage/stream_id.ts";

/** The first byte of a channel's id; most streams of a node are channels. */
const channel = 0x20;

/**
 * Makes random ids. As nodes' ids do, they spread over partitions and indexes.
 */
export function newStreamIds(count: number): StreamId[] {
  return Array.from({ length: count }, () => {
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    bytes[0] = channel;
    return parseStreamId(bytes);
  });
}

/** The most bytes that one call of getRandomValues fills. */
const entropyBytes = 65_536;

/** Makes bytes that neither the network nor PostgreSQL can compress. */
export function randomBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += entropyBytes) {
    crypto.getRandomValues(bytes.subarray(at, at + entropyBytes));
  }
  return bytes;
}

/** Calls `make` with each number from 0 to `count - 1`; returns the results. */
export function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

/** Returns the next item at each call; after the last one the first. */
export function cycle<T>(items: readonly T[]): () => T {
  let next = 0;
  return () => items[next++ % items.length]!;
}
