/**
 * The records of an export, as bytes. docs/export-format.md describes them for
 * the authors of other programs. A change here needs a change there and a new
 * version.
 *
 *     file:   magic record(H) stream* record(T)
 *     stream: record(S) record(B)* (record(M) record(V)*)? record(C)* (record(E) | record(X))
 *     record: length, 4 bytes big-endian, of what follows; type, 1 byte; payload
 *
 * E and X end with the SHA-256 of all bytes since S. The chain takes in every
 * one of them: SHA-256(chain, type, digest), from SHA-256(magic, record(H)) on.
 * T has the number of streams that end with E, and the chain.
 */

import { Buffer } from "node:buffer";
import { createHash, type Hash } from "node:crypto";
import { bytesToHex, hexToBytes } from "../../../storage/stream_id.ts";
import type { StreamId } from "../../../storage/stream_id.ts";
import type { MiniblockRow } from "../../../storage/rules.ts";
import type { CandidateRow, StoredKind, StreamHead } from "./model.ts";

/** The format's name. */
export const formatName = "towns-streams";

/** The format's version. */
export const formatVersion = 1;

/**
 * The first bytes of a file. They break visibly if a program transfers the file
 * as text.
 */
export const magic: Uint8Array = new Uint8Array([
  ...[0x89, 0x54, 0x57, 0x4e, 0x0d, 0x0a, 0x1a, 0x0a],
]);

/**
 * The most bytes of a record without its length: the limit of PostgreSQL's
 * values.
 */
export const maxRecordBytes = 2 ** 30;

/** The types of records. */
export const recordType = {
  header: "H",
  stream: "S",
  block: "B",
  minipool: "M",
  event: "V",
  candidate: "C",
  end: "E",
  withdrawn: "X",
  trailer: "T",
} as const;

/** One of {@linkcode recordType}. */
export type RecordType = typeof recordType[keyof typeof recordType];

/** The head of a record whose payload has this many bytes. */
export function recordHead(type: RecordType, payloadBytes: number): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(payloadBytes + 1, 0);
  head.write(type, 4, "latin1");
  return head;
}

const kinds: readonly StoredKind[] = ["regular", "ephemeral", "archive"];

/** The payload of S. */
export function encodeStream(
  { streamId, kind, latestSnapshot }: StreamHead,
): Uint8Array[] {
  const rest = Buffer.alloc(9);
  rest.writeUInt8(kinds.indexOf(kind), 0);
  rest.writeBigInt64BE(latestSnapshot, 1);
  return [hexToBytes(streamId), rest];
}

/** Undefined if the payload is malformed. */
export function decodeStream(payload: Buffer): StreamHead | undefined {
  const kind = payload.length === 41 ? kinds[payload[32]!] : undefined;
  return kind && {
    streamId: bytesToHex(payload.subarray(0, 32)) as StreamId,
    kind,
    latestSnapshot: payload.readBigInt64BE(33),
  };
}

/** The payload of B. */
export function encodeBlock(
  { number, data, snapshot }: MiniblockRow,
): Uint8Array[] {
  const head = Buffer.alloc(12);
  head.writeBigInt64BE(number, 0);
  head.writeUInt32BE(snapshot?.length ?? 0, 8);
  return snapshot ? [head, snapshot, data] : [head, data];
}

/** Undefined if the payload is malformed. */
export function decodeBlock(payload: Buffer): MiniblockRow | undefined {
  if (payload.length < 12) return undefined;
  const snapshotEnd = 12 + payload.readUInt32BE(8);
  if (snapshotEnd > payload.length) return undefined;
  return {
    number: payload.readBigInt64BE(0),
    snapshot: snapshotEnd === 12 ? null : payload.subarray(12, snapshotEnd),
    data: payload.subarray(snapshotEnd),
  };
}

/** The payload of C. */
export function encodeCandidate(candidate: CandidateRow): Uint8Array[] {
  return [hexToBytes(candidate.hash), ...encodeBlock(candidate)];
}

/** Undefined if the payload is malformed. */
export function decodeCandidate(payload: Buffer): CandidateRow | undefined {
  if (payload.length < 32) return undefined;
  const block = decodeBlock(payload.subarray(32));
  return block && { ...block, hash: bytesToHex(payload.subarray(0, 32)) };
}

/** A number in 8 bytes. */
export function encodeNumber(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

/** Keeps the digests of a file. */
export class Digests {
  #chain: Buffer;
  #stream: Hash = createHash("sha256");
  streams = 0n;

  /** Begins with a new file, or resumes a file that has this many streams. */
  constructor(chain: Uint8Array, streams = 0n) {
    this.#chain = Buffer.from(chain);
    this.streams = streams;
  }

  /** The chain over the digests of all closed streams. */
  get chain(): Buffer {
    return this.#chain;
  }

  /** Adds bytes of the present stream. */
  update(bytes: Uint8Array): void {
    this.#stream.update(bytes);
  }

  /**
   * Returns the stream's digest, when all its bytes before E or X were added.
   */
  close(type: "E" | "X"): Buffer {
    const digest = this.#stream.digest();
    this.#stream = createHash("sha256");
    this.#chain = createHash("sha256").update(this.#chain).update(type)
      .update(digest).digest();
    if (type === "E") this.streams++;
    return digest;
  }
}

/**
 * The beginning of the chain: the digest of everything before the first stream.
 */
export function firstChain(...bytes: Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const each of bytes) hash.update(each);
  return hash.digest();
}
