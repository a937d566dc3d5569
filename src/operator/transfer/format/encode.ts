/** Writes an export: makes bytes of streams, in pieces worth a write. */

import { Buffer } from "node:buffer";
import type { MiniblockRow } from "../../../storage/rules.ts";
import type { ExportHeader, StreamHead, StreamTail } from "./model.ts";
import {
  Digests,
  encodeBlock,
  encodeCandidate,
  encodeNumber,
  encodeStream,
  firstChain,
  magic,
  recordHead,
  type RecordType,
  recordType,
} from "./records.ts";

/** From so many bytes on a piece is worth a write. */
const pieceBytes = 256 * 1024;

/** See the file's head. What it makes is taken with `take`. */
export class ExportEncoder {
  #digests: Digests | undefined;
  #parts: Uint8Array[] = [];
  #bytes = 0;

  /** A file that is gone on with has its header. */
  constructor(resumed?: Digests) {
    this.#digests = resumed;
  }

  /** Whether there is enough to be written. */
  get isFull(): boolean {
    return this.#bytes >= pieceBytes;
  }

  /** All that was made since the last call. */
  take(): Uint8Array {
    const piece = Buffer.concat(this.#parts, this.#bytes);
    this.#parts = [];
    this.#bytes = 0;
    return piece;
  }

  /** How a file begins. */
  header(header: ExportHeader): void {
    const payload = Buffer.from(JSON.stringify(header));
    const head = recordHead(recordType.header, payload.length);
    for (const part of [magic, head, payload]) this.#push(part);
    this.#digests = new Digests(firstChain(magic, head, payload));
  }

  /** A stream begins. */
  begin(head: StreamHead): void {
    this.#record(recordType.stream, encodeStream(head));
  }

  /** Its next block. */
  block(block: MiniblockRow): void {
    this.#record(recordType.block, encodeBlock(block));
  }

  /** What stands behind the blocks; the stream ends. */
  end({ minipool, candidates }: StreamTail): void {
    if (minipool) {
      const generation = encodeNumber(minipool.generation);
      this.#record(recordType.minipool, [generation]);
      for (const envelope of minipool.envelopes) {
        this.#record(recordType.event, [envelope]);
      }
    }
    for (const candidate of candidates) {
      this.#record(recordType.candidate, encodeCandidate(candidate));
    }
    this.#close(recordType.end);
  }

  /** The stream that has begun is worth nothing. */
  withdraw(): void {
    this.#close(recordType.withdrawn);
  }

  /** How a file ends. */
  trailer(): void {
    const { streams, chain } = this.#digests!;
    this.#push(recordHead(recordType.trailer, 8 + chain.length));
    this.#push(encodeNumber(streams));
    this.#push(chain);
  }

  #record(type: RecordType, payload: readonly Uint8Array[]): void {
    const bytes = payload.reduce((sum, { length }) => sum + length, 0);
    for (const part of [recordHead(type, bytes), ...payload]) {
      this.#digests!.update(part);
      this.#push(part);
    }
  }

  #close(type: "E" | "X"): void {
    const digest = this.#digests!.close(type);
    this.#push(recordHead(type, digest.length));
    this.#push(digest);
  }

  #push(part: Uint8Array): void {
    this.#parts.push(part);
    this.#bytes += part.length;
  }
}
