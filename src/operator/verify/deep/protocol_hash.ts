/** Computes the protocol's hash of an event, which its envelope holds. */

import { keccak256 } from "./keccak.ts";

const text = new TextEncoder();
/** The hash covers a word, the event's length, another word and the event. */
const before = text.encode("CSBLANCA........ABCDEFG>");
const length = new DataView(before.buffer, before.byteOffset + 8, 8);
const after = text.encode("<GFEDCBA");

/** Returns the hash, 32 bytes. */
export function eventHash(event: Uint8Array): Uint8Array {
  // No bigint: each would be an object, and there are millions of events.
  length.setUint32(0, event.length, true);
  length.setUint32(4, event.length / 2 ** 32, true);
  return keccak256(before, event, after);
}
