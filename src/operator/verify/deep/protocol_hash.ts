/** The protocol's hash of an event: what stands in an envelope beside it. */

import { keccak256 } from "./keccak.ts";

const text = new TextEncoder();
/** A word, the event's length, another word. */
const before = text.encode("CSBLANCA........ABCDEFG>");
const length = new DataView(before.buffer, before.byteOffset + 8, 8);
const after = text.encode("<GFEDCBA");

/** 32 bytes. */
export function eventHash(event: Uint8Array): Uint8Array {
  // No bigint, of which each would be an object; there are millions of events.
  length.setUint32(0, event.length, true);
  length.setUint32(4, event.length / 2 ** 32, true);
  return keccak256(before, event, after);
}
