import { badStreamId, invalidArgument } from "./fault.ts";
import { type Uint64, xxh64 } from "./xxh64.ts";

/**
 * 64 lowercase hex characters whose first byte is the stream's type; see
 * {@linkcode parseStreamId}.
 */
export type StreamId = string & { readonly __brand: "StreamId" };

/** The kind of a stream, given by the first byte of its id. */
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

/** All types of streams. */
export const streamTypes: readonly StreamType[] = [
  "space",
  "channel",
  "dm",
  "gdm",
  "media",
  "metadata",
  "user",
  "user_settings",
  "user_inbox",
  "user_metadata",
  "unknown",
];

/** What the first byte of an id determines. */
interface Kind {
  type: StreamType;
  /** Bytes that the id uses, including the first; all later bytes are zero. */
  bytes: number;
}

const STREAM_ID_BYTES = 32;
const MAX_PARTITIONS = 256;

/** A type byte and an address. */
const ADDRESS_BYTES = 21;

const KINDS: ReadonlyMap<string, Kind> = new Map([
  ["10", { type: "space", bytes: ADDRESS_BYTES }],
  ["20", { type: "channel", bytes: STREAM_ID_BYTES }],
  ["88", { type: "dm", bytes: STREAM_ID_BYTES }],
  ["77", { type: "gdm", bytes: STREAM_ID_BYTES }],
  ["ff", { type: "media", bytes: STREAM_ID_BYTES }],
  ["dd", { type: "metadata", bytes: 9 }],
  ["a8", { type: "user", bytes: ADDRESS_BYTES }],
  ["a5", { type: "user_settings", bytes: ADDRESS_BYTES }],
  ["a1", { type: "user_inbox", bytes: ADDRESS_BYTES }],
  ["ad", { type: "user_metadata", bytes: ADDRESS_BYTES }],
]);

/**
 * Reads a stream id from 64 hex characters, with or without `0x`, or from 32
 * bytes. Upper case is folded to lower case.
 *
 * The id must be one that a node can read. Its first byte is that of a type. A
 * space's or user's id (`10`, `a8`, `a5`, `a1`, `ad`) is that byte, an address
 * of 20 bytes, and zeros; a metadata stream's (`dd`) has zeros from byte 9 on;
 * the others use all 32 bytes.
 *
 * Errors: `BAD_STREAM_ID` for anything else.
 *
 * @example A space's id: its type, an address, zeros.
 * ```ts
 * import { parseStreamId, streamType } from "@towns/stream-storage";
 *
 * const space = parseStreamId("0x10" + "AB".repeat(20) + "00".repeat(11));
 * console.log(streamType(space)); // space
 * ```
 */
export function parseStreamId(value: string | Uint8Array): StreamId {
  const id = storedFormOf(value);
  if (id === undefined) throw badStreamId("streamId", value);
  const broken = brokenRuleOf(id);
  if (broken !== undefined) throw badStreamId("streamId", value, broken);
  return id;
}

function storedFormOf(value: string | Uint8Array): StreamId | undefined {
  if (value instanceof Uint8Array && value.length === STREAM_ID_BYTES) {
    return bytesToHex(value) as StreamId;
  }
  if (typeof value !== "string") return undefined;
  const hex = /^(?:0x)?([0-9a-f]{64})$/i.exec(value)?.[1];
  return hex?.toLowerCase() as StreamId | undefined;
}

/**
 * Whether `value` is a stream id in its stored form, 64 lowercase hex
 * characters, that a node can read; see {@linkcode parseStreamId}.
 */
export function isStreamId(value: unknown): value is StreamId {
  return isStoredForm(value) && brokenRuleOf(value) === undefined;
}

/**
 * Whether `value` is 64 lowercase hex characters. Earlier releases accepted any
 * such id, so streams may be stored whose ids {@linkcode isStreamId} refuses,
 * and those must still be read, listed and deleted.
 */
export function isStoredForm(value: unknown): value is StreamId {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

/**
 * The rule of the protocol that a stored id breaks, if any. A node refuses such
 * an id, and a single one in `es` makes its listing of all streams fail.
 */
export function brokenRuleOf(id: StreamId): string | undefined {
  const kind = KINDS.get(id.slice(0, 2));
  if (kind === undefined) return "begin with the byte of a stream type";
  if (/^0*$/.test(id.slice(2 * kind.bytes))) return undefined;
  return `have only zeros from byte ${kind.bytes} on`;
}

/** The stream's type, or `"unknown"` if the first byte is that of no type. */
export function streamType(id: StreamId): StreamType {
  return KINDS.get(id.slice(0, 2))?.type ?? "unknown";
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

/**
 * The schema of the node with this address: `s` + lowercase address.
 *
 * @example
 * ```ts
 * import { schemaNameFromAddress } from "@towns/stream-storage";
 *
 * console.log(schemaNameFromAddress("0xAB01")); // s0xab01
 * ```
 */
export function schemaNameFromAddress(address: string): string {
  return `s${address.toLowerCase()}`;
}

/** The schema of the archiver with this id: `arch` + lowercase id. */
export function schemaNameForArchive(archiveId: string): string {
  return `arch${archiveId.toLowerCase()}`;
}

/** Exact because `divisor` is at most 256, so no product exceeds 2^53. */
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

/** The bytes that hex characters stand for, two characters a byte. */
export function hexToBytes(hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  }
  return bytes;
}
