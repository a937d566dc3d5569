import { type Cipheriv, createCipheriv, createHash } from "node:crypto";

/**
 * Bytes and numbers that look random and are the same for the same seed, on
 * every machine and runtime: the key stream of AES-256 in counter mode.
 */
export class Random {
  readonly #keyStream: Cipheriv;

  /** Any text is a seed. */
  constructor(seed: string) {
    const key = createHash("sha256").update(seed).digest();
    this.#keyStream = createCipheriv("aes-256-ctr", key, new Uint8Array(16));
  }

  /** So many bytes. */
  bytes(length: number): Uint8Array {
    return new Uint8Array(this.#keyStream.update(new Uint8Array(length)));
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.#fraction() * (max - min + 1));
  }

  /** As `between`, but small numbers are much more frequent. */
  mostlySmall(min: number, max: number): number {
    return min + Math.floor(this.#fraction() ** 3 * (max - min + 1));
  }

  /** True in `percent` of 100 calls. */
  chance(percent: number): boolean {
    return this.#fraction() * 100 < percent;
  }

  /** 0 or more, less than 1. */
  #fraction(): number {
    return new DataView(this.bytes(4).buffer).getUint32(0) / 2 ** 32;
  }
}
