import type { MiniblockDescriptor } from "../../mod.ts";

/** Counts the bytes of an event, or of a block with its snapshot. */
export function sizeOf(part: Uint8Array | MiniblockDescriptor): number {
  return part instanceof Uint8Array
    ? part.length
    : part.data.length + (part.snapshot?.length ?? 0);
}

/** Returns the first index at which two byte arrays differ, if they do. */
export function firstDifference(
  a: Uint8Array,
  b: Uint8Array,
): number | undefined {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return a.length === b.length ? undefined : length;
}
