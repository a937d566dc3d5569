/**
 * Encodes an export: turns streams into bytes, in pieces large enough for a
 * write.
 */

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

/** A piece of this size is large enough for a write. */
const pieceBytes = 256 * 1024;

/** See the file's head. `take` returns the bytes. */
export class ExportEncoder {
  #digests: Digests | undefined;
  #parts: Uint8Array[] = [];
  #bytes = 0;

  /** A resumed file already has its header. */
  constructor(resumed?: Digests) {
    this.#digests = resumed;
  }

  /** Whether enough bytes have gathered for a write. */
  get isFull(): boolean {
    return this.#bytes >= pieceBytes;
  }

  /** Returns the bytes since the last call. */
  take(): Uint8Array {
    const piece = Buffer.concat(this.#parts, this.#bytes);
    this.#parts = [];
    this.#bytes = 0;
    return piece;
  }

  /** Begins a file. */
  header(header: ExportHeader): void {
    const payload = Buffer.from(JSON.stringify(header));
    const head = recordHead(recordType.header, payload.length);
    for (const part of [magic, head, payload]) this.#push(part);
    this.#digests = new Digests(firstChain(magic, head, payload));
  }

  /** Begins a stream. */
  begin(head: StreamHead): void {
    this.#record(recordType.stream, encodeStream(head));
  }

  /** Adds the stream's next block. */
  block(block: MiniblockRow): void {
    this.#record(recordType.block, encodeBlock(block));
  }

  /** Adds the minipool and the candidates, and ends the stream. */
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

  /** Withdraws the stream that has begun. */
  withdraw(): void {
    this.#close(recordType.withdrawn);
  }

  /** Ends the file. */
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
