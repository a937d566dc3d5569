import type { Buffer } from "node:buffer";

/** The number at the end of a command tag: `INSERT 0 1` is 1, `BEGIN` is 0. */
export function trailingNumber(
  bytes: Buffer,
  start: number,
  end: number,
): number {
  let value = 0;
  let scale = 1;
  for (let at = end - 1; at >= start; at--) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) break;
    value += digit * scale;
    scale *= 10;
  }
  return value;
}
