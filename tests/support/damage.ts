/** Random damage to bytes that a server sends. */
import { Buffer } from "node:buffer";
import fc from "fast-check";

/** Generates a kind of damage and its place. */
export const damage = fc.record({
  kind: fc.constantFrom("flip", "insert", "remove", "repeat", "cut", "long"),
  at: fc.nat(),
  size: fc.integer({ min: 1, max: 12 }),
  byte: fc.nat(255),
});
/** One kind of damage at one place. */
export type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

/** The damaged bytes. */
export function damaged(
  bytes: Buffer,
  { kind, at, size, byte }: Damage,
): Buffer {
  const from = bytes.length === 0 ? 0 : at % bytes.length;
  const [before, after] = [bytes.subarray(0, from), bytes.subarray(from)];
  switch (kind) {
    case "flip": {
      const copy = Buffer.from(bytes);
      if (copy.length > 0) copy[from]! ^= byte || 1;
      return copy;
    }
    case "insert":
      return Buffer.concat([before, Buffer.alloc(size, byte), after]);
    case "remove":
      return Buffer.concat([before, after.subarray(size)]);
    case "repeat":
      return Buffer.concat([before, after.subarray(0, size), after]);
    case "cut":
      return Buffer.from(before);
    case "long": {
      // Where a message has its length, if it is the first one.
      const copy = Buffer.from(bytes);
      if (copy.length >= 5) copy.writeInt32BE(at | 0, 1);
      return copy;
    }
  }
}
