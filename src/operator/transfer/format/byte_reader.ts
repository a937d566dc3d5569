import { Buffer } from "node:buffer";

/** Fewer are cut from memory that others share. */
const pooledBytes = 256;

/** Takes so many bytes at a time of what comes in chunks of any size. */
export class ByteReader implements AsyncDisposable {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunks: Buffer[] = [];
  #held = 0;
  #isOver = false;

  /** Bytes that were taken. */
  offset = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Whether the source has ended with fewer bytes than were asked for. */
  get isCut(): boolean {
    return this.#isOver && this.#held > 0;
  }

  /** The next bytes, which are the caller's; undefined where there are not so many. */
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

  /** Lets go of the source. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOver) await this.#source.return?.();
  }

  /** Copies: who keeps one block must not keep the chunk around it. */
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
