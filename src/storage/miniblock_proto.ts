/**
 * The few fields of the protocol's messages that the storage needs.
 *
 * Miniblock: 1 events (repeated Envelope), 2 header (Envelope).
 * Envelope: 1 hash, 2 signature, 3 event (a serialised StreamEvent).
 * StreamEvent: 100 miniblock_header, 108 media_payload.
 * MiniblockHeader: 5 snapshot. MediaPayload: 1 inception.
 * Inception: 3 chunk_count.
 *
 * Callers may store any bytes as block data, so nothing here throws: data that
 * does not decode simply has no such field.
 *
 * @module
 */
import { WireReader, WireType } from "./wire_reader.ts";

const HASH_BYTES = 32;

/** What the genesis block of a media stream says. */
export interface MediaInception {
  /** The number of chunks, which is the last block's number once sealed. */
  chunkCount: number;
  /** The hash of the genesis header, 32 bytes. */
  headerHash: Uint8Array;
}

/** Whether the block's data holds a snapshot inside its header. */
export function hasLegacySnapshot(data: Uint8Array): boolean {
  return decode(() => {
    const header = message(data, 2);
    const event = header && bytes(header, 3);
    const miniblockHeader = event && message(event, 100);
    return miniblockHeader && message(miniblockHeader, 5);
  }) !== undefined;
}

/**
 * The inception of a media stream, or `undefined` when `data` is not a
 * Miniblock with a header whose first event is one.
 */
export function readMediaInception(
  data: Uint8Array,
): MediaInception | undefined {
  return decode(() => {
    const header = message(data, 2);
    const headerHash = header && bytes(header, 1);
    const firstEvent = fields(data, 1)[0];
    const event = firstEvent && bytes(firstEvent, 3);
    const payload = event && message(event, 108);
    const inception = payload && message(payload, 1);
    if (inception === undefined || headerHash?.length !== HASH_BYTES) {
      return undefined;
    }
    return {
      chunkCount: readInt32(inception, 3),
      // Not slice(): a Buffer's slice is a view of the same memory.
      headerHash: new Uint8Array(headerHash),
    };
  });
}

/** Bytes that are no message make the reader throw plain errors. */
function decode<T>(read: () => T | undefined): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** A singular message: its occurrences on the wire are merged. */
function message(data: Uint8Array, fieldNo: number): Uint8Array | undefined {
  const parts = fields(data, fieldNo);
  if (parts.length <= 1) return parts[0];
  const merged = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    merged.set(part, offset);
    offset += part.length;
  }
  return merged;
}

/** A singular bytes field: the last occurrence counts. */
function bytes(data: Uint8Array, fieldNo: number): Uint8Array | undefined {
  return fields(data, fieldNo).at(-1);
}

/** All length-delimited fields with this number, as views of `data`. */
function fields(data: Uint8Array, fieldNo: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  const reader = new WireReader(data);
  while (reader.hasMore) {
    const [number, wireType] = reader.tag();
    if (number === fieldNo && wireType === WireType.LengthDelimited) {
      found.push(reader.bytes());
    } else {
      reader.skip(wireType, number);
    }
  }
  return found;
}

/** A singular int32 field, 0 when it is absent. */
function readInt32(data: Uint8Array, fieldNo: number): number {
  let value = 0;
  const reader = new WireReader(data);
  while (reader.hasMore) {
    const [number, wireType] = reader.tag();
    if (number === fieldNo && wireType === WireType.Varint) {
      value = reader.uint32() | 0;
    } else {
      reader.skip(wireType, number);
    }
  }
  return value;
}
