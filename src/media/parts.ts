/** Splits an object's bytes into the parts of an upload. */

import { ReplyFault } from "./reply_fault.ts";
import { xmlEscape } from "./xml.ts";

/** Collects the pieces into parts of one size, in one piece of memory. */
export async function* cut(
  pieces: AsyncIterable<Uint8Array>,
  size: number,
  partBytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const part = new Uint8Array(Math.min(partBytes, size));
  let filled = 0;
  let left = size;
  for await (const piece of pieces) {
    left -= piece.length;
    if (left < 0) break;
    for (let at = 0; at < piece.length;) {
      const bytes = piece.subarray(at, at + part.length - filled);
      part.set(bytes, filled);
      filled += bytes.length;
      at += bytes.length;
      if (filled < part.length) continue;
      yield part;
      filled = 0;
    }
  }
  if (left !== 0) {
    throw new ReplyFault({ reason: "size_mismatch", retryable: false });
  }
  if (filled > 0) yield part.subarray(0, filled);
}

/** The body of the request that makes one object from its parts. */
export function completionOf(
  etags: readonly string[],
): Uint8Array<ArrayBuffer> {
  const parts = etags.map((etag, i) =>
    `<Part><PartNumber>${i + 1}</PartNumber>` +
    `<ETag>${xmlEscape(etag)}</ETag></Part>`
  );
  return new TextEncoder().encode(
    `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`,
  );
}
