/** Ids and payloads, made before anything is timed. */

import { parseStreamId, type StreamId } from "../src/storage/stream_id.ts";

/** The first byte of a channel's id: what most streams of a node are. */
const channel = 0x20;

/** Random ids, as the nodes' are: they spread over partitions and indexes. */
export function newStreamIds(count: number): StreamId[] {
  return Array.from({ length: count }, () => {
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    bytes[0] = channel;
    return parseStreamId(bytes);
  });
}

/** The most that getRandomValues fills at a time. */
const entropyBytes = 65_536;

/** Bytes that nothing on the way can compress. */
export function randomBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += entropyBytes) {
    crypto.getRandomValues(bytes.subarray(at, at + entropyBytes));
  }
  return bytes;
}

/** `count` numbers from 0 on, each mapped. */
export function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

/** An endless walk through the items, each in its turn. */
export function cycle<T>(items: readonly T[]): () => T {
  let next = 0;
  return () => items[next++ % items.length]!;
}
