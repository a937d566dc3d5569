import { type Cipheriv, createCipheriv, createHash } from "node:crypto";

/**
 * Makes bytes and numbers that look random but depend only on the seed, on
 * every machine and runtime. They are the key stream of AES-256 in counter
 * mode.
 */
export class Random {
  readonly #keyStream: Cipheriv;

  /** Any text is a seed. */
  constructor(seed: string) {
    const key = createHash("sha256").update(seed).digest();
    this.#keyStream = createCipheriv("aes-256-ctr", key, new Uint8Array(16));
  }

  /** Returns the next bytes. */
  bytes(length: number): Uint8Array {
    return new Uint8Array(this.#keyStream.update(new Uint8Array(length)));
  }

  /** Returns a whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1));
  }

  /** Does what `between` does, but small numbers are much more frequent. */
  mostlySmall(min: number, max: number): number {
    return min + Math.floor(this.fraction() ** 3 * (max - min + 1));
  }

  /** Returns true in `percent` of 100 calls. */
  chance(percent: number): boolean {
    return this.fraction() * 100 < percent;
  }

  /** Returns a number from 0 up to, but not including, 1. */
  fraction(): number {
    return new DataView(this.bytes(4).buffer).getUint32(0) / 2 ** 32;
  }
}
