import { badStreamId, invalidArgument } from "./fault.ts";
import { type Uint64, xxh64 } from "./xxh64.ts";

/** 64 lowercase hex characters whose first byte tells the stream's type. */
export type StreamId = string & { readonly __brand: "StreamId" };

/** The kind of a stream, told by the first byte of its id. */
export type StreamType =
  | "space"
  | "channel"
  | "dm"
  | "gdm"
  | "media"
  | "metadata"
  | "user"
  | "user_settings"
  | "user_inbox"
  | "user_metadata"
  | "unknown";

const TYPE_BY_PREFIX: ReadonlyMap<string, StreamType> = new Map([
  ["10", "space"],
  ["20", "channel"],
  ["88", "dm"],
  ["77", "gdm"],
  ["ff", "media"],
  ["dd", "metadata"],
  ["a8", "user"],
  ["a5", "user_settings"],
  ["a1", "user_inbox"],
  ["ad", "user_metadata"],
]);

const STREAM_ID_BYTES = 32;
const MAX_PARTITIONS = 256;

/**
 * Reads a stream id from 64 hex characters, with or without `0x`, or from 32
 * bytes. Upper case is folded to lower case. Any first byte is accepted.
 *
 * Errors: `BAD_STREAM_ID` for anything else.
 */
export function parseStreamId(value: string | Uint8Array): StreamId {
  if (value instanceof Uint8Array && value.length === STREAM_ID_BYTES) {
    return bytesToHex(value) as StreamId;
  }
  if (typeof value === "string") {
    const hex = /^(?:0x)?([0-9a-f]{64})$/i.exec(value)?.[1];
    if (hex !== undefined) return hex.toLowerCase() as StreamId;
  }
  throw badStreamId("streamId", value);
}

/** Whether `value` is a stream id as it is stored: 64 lowercase hex. */
export function isStreamId(value: unknown): value is StreamId {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

/** The stream's type, `"unknown"` for a first byte that no type has. */
export function streamType(id: StreamId): StreamType {
  return TYPE_BY_PREFIX.get(id.slice(0, 2)) ?? "unknown";
}

/**
 * The suffix of the partition tables that hold the stream: `m` for media
 * streams, else `r`, then two hex digits.
 *
 * `partitions` is the store's number of partitions, 1 to 256.
 * Errors: `INVALID_ARGUMENT` for another number.
 */
export function partitionSuffix(id: StreamId, partitions: number): string {
  if (
    !Number.isInteger(partitions) || partitions < 1 ||
    partitions > MAX_PARTITIONS
  ) {
    throw invalidArgument({
      argument: "partitions",
      reason: "out_of_range",
      rule: `must be an integer from 1 to ${MAX_PARTITIONS}`,
      received: partitions,
    });
  }
  const number = remainder(xxh64(asciiBytes(id)), partitions) & 0xff;
  const kind = id.startsWith("ff") ? "m" : "r";
  return kind + number.toString(16).padStart(2, "0");
}

/** The key of the advisory lock that makes one process a schema's writer. */
export function schemaLockId(schema: string): bigint {
  const { high, low } = xxh64(new TextEncoder().encode(schema));
  return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
}

/** The schema of the node with this address: `s` + lowercase address. */
export function schemaNameFromAddress(address: string): string {
  return `s${address.toLowerCase()}`;
}

/** The schema of the archiver with this id: `arch` + lowercase id. */
export function schemaNameForArchive(archiveId: string): string {
  return `arch${archiveId.toLowerCase()}`;
}

/** Exact because `divisor` is at most 256: no product leaves 2^53. */
function remainder(value: Uint64, divisor: number): number {
  const high = (value.high % divisor) * (0x100000000 % divisor);
  return (high + value.low % divisor) % divisor;
}

/** A stream id is ASCII; copying codes is faster than a TextEncoder. */
function asciiBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Lowercase hex of `bytes`, two characters a byte. */
export function bytesToHex(bytes: Uint8Array): string {
  let hex = "";
  for (const byte of bytes) hex += byte.toString(16).padStart(2, "0");
  return hex;
}

/** The bytes that hex characters stand for, two each. */
export function hexToBytes(hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  }
  return bytes;
}
