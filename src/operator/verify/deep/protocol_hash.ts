/** The protocol's hash of an event: what stands in an envelope beside it. */

import { keccak256 } from "./keccak.ts";

const text = new TextEncoder();
const before = text.encode("CSBLANCA");
const between = text.encode("ABCDEFG>");
const after = text.encode("<GFEDCBA");

/** 32 bytes. */
export function eventHash(event: Uint8Array): Uint8Array {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(event.length), true);
  return keccak256(before, length, between, event, after);
}
