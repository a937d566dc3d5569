/**
 * Keeps V8 from marking its whole heap again and again while much is read.
 *
 * V8 keeps the bytes of an array outside of its heap, but counts them against
 * the heap's limit. To free those that callers no longer need, it would suffice
 * to collect young objects, in a millisecond or two. V8 does so when its space
 * for young objects is full, and an array of 10 KB takes few bytes of that
 * space. So the limit is reached first, and V8 marks everything: once for every
 * 50 reads of 1 MB, which took half of the client's processor time.
 *
 * So as many bytes of young objects are allocated as such arrays have. These
 * objects are garbage at once. JavaScriptCore needs none of this.
 */

/** Rows of smaller arrays are objects enough. */
const leastBytes = 4 * 1024;
/**
 * 32 reads of 1 MB at once last longer than the space for young objects. To
 * collect that more often frees little, and takes an eighth of the calls if the
 * arrays have 50 KB. Measured at 10 and at 50 KB.
 */
const mostBytes = 32 * 1024;
/** The size of an object. V8 has other rules for those above 128 KiB. */
const objectBytes = 64 * 1024;
const elementBytes = 8;

const isV8 = !("Bun" in globalThis);

let missing = 0;
/** V8 would not allocate what is stored nowhere. */
const stored: { last?: unknown[] } = {};

/** Called for each array of so many bytes that callers get. */
export function countArray(bytes: number): void {
  if (!isV8 || bytes < leastBytes || bytes > mostBytes) return;
  missing += bytes;
  if (missing < objectBytes) return;
  missing -= objectBytes;
  stored.last = new Array(objectBytes / elementBytes);
}
