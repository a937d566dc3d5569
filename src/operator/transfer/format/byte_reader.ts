import { Buffer } from "node:buffer";

/** Smaller buffers are cut from memory that they share with others. */
const pooledBytes = 256;

/** Reads a given number of bytes at a time from chunks of any size. */
export class ByteReader implements AsyncDisposable {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunks: Buffer[] = [];
  #held = 0;
  #isOver = false;

  /** The number of bytes that were read. */
  offset = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Whether the source has ended within a read. */
  get isCut(): boolean {
    return this.#isOver && this.#held > 0;
  }

  /**
   * Returns the next bytes, which belong to the caller; undefined if there are
   * fewer.
   */
  async read(count: number): Promise<Buffer | undefined> {
    while (this.#held < count) {
      if (this.#isOver) return undefined;
      const { value, done } = await this.#source.next();
      if (done) this.#isOver = true;
      else if (value.length > 0) {
        this.#chunks.push(
          Buffer.from(value.buffer, value.byteOffset, value.length),
        );
        this.#held += value.length;
      }
    }
    return this.#take(count);
  }

  /** Releases the source. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOver) await this.#source.return?.();
  }

  /**
   * Copies the bytes, so that a caller that keeps one block does not keep the
   * chunk around it.
   */
  #take(count: number): Buffer {
    const bytes = count < pooledBytes
      ? Buffer.allocUnsafe(count)
      : Buffer.allocUnsafeSlow(count);
    let at = 0;
    let used = 0;
    while (at < count) {
      const chunk = this.#chunks[used]!;
      const part = chunk.copy(bytes, at, 0, count - at);
      at += part;
      if (part < chunk.length) this.#chunks[used] = chunk.subarray(part);
      else used++;
    }
    this.#chunks.splice(0, used);
    this.#held -= count;
    this.offset += count;
    return bytes;
  }
}
