import { createHash } from "node:crypto";
import { Random } from "../../tests/support/random.ts";

const idBytes = 8;

/**
 * Payloads that contain their own id. The first eight bytes are the id; the
 * seed and the id determine the length and all other bytes. So a payload that
 * is read back shows which write it is from, and whether any byte is wrong.
 */
export class Payloads {
  readonly #seed: string;

  /** Any text is a seed. */
  constructor(seed: string) {
    this.#seed = seed;
  }

  /** Makes the payload with this id, 1 or more: mostly small, up to 100 KB. */
  bytes(id: number): Uint8Array {
    const random = new Random(`${this.#seed}:${id}`);
    const size = random.chance(75)
      ? random.between(1, 600)
      : random.chance(80)
      ? random.between(600, 8_000)
      : random.between(8_000, 100_000);
    const bytes = new Uint8Array(idBytes + size);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(id));
    bytes.set(random.bytes(size), idBytes);
    return bytes;
  }

  /** Makes a hash for the payload, of 32 bytes. */
  hash(id: number): Uint8Array {
    const hash = createHash("sha256").update(`${this.#seed}:${id}`).digest();
    return new Uint8Array(hash);
  }

  /**
   * Returns the id of a payload that was read back; undefined if a byte is
   * wrong.
   */
  idOf(bytes: Uint8Array): number | undefined {
    if (bytes.length < idBytes) return undefined;
    const { buffer, byteOffset } = bytes;
    const id = Number(new DataView(buffer, byteOffset).getBigUint64(0));
    const written = this.bytes(id);
    const isSame = written.length === bytes.length &&
      written.every((byte, i) => byte === bytes[i]);
    return isSame ? id : undefined;
  }
}
