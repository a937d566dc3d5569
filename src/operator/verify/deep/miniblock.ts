/**
 * Decodes a block's data as far as hashes and the chain of headers need it.
 *
 * Miniblock: 1 events (repeated Envelope), 2 header (Envelope).
 * Envelope: 1 hash, 2 signature, 3 event (a serialised StreamEvent).
 * StreamEvent: 100 miniblock_header.
 * MiniblockHeader: 1 miniblock_num, 2 prev_miniblock_hash, 4 event_hashes.
 */

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** An event and the hash beside it, as views of the block's data. */
export interface Envelope {
  hash: Uint8Array;
  event: Uint8Array;
}

/** The decoded data of a block. */
export interface DecodedMiniblock {
  header: Envelope;
  number: bigint;
  /** The hash of the previous block; empty if the data have none. */
  previousHash: Uint8Array;
  eventHashes: Uint8Array[];
  events: Envelope[];
}

const none: Uint8Array = new Uint8Array();

/** Decodes a block's data. If that fails, returns the reason in a few words. */
export function decodeMiniblock(data: Uint8Array): DecodedMiniblock | string {
  try {
    const events: Envelope[] = [];
    let header: Envelope | undefined;
    eachField(data, {
      1: (value) => events.push(decodeEnvelope(value)),
      2: (value) => header = decodeEnvelope(value),
    });
    if (header === undefined) return "it has no header";
    const content = headerOf(header.event);
    if (content === undefined) return "its header can't be decoded";
    return { header, events, ...content };
  } catch {
    // The decoder's own message could contain payload.
    return "it is not a message of the protocol";
  }
}

function decodeEnvelope(data: Uint8Array): Envelope {
  const envelope: Envelope = { hash: none, event: none };
  eachField(data, {
    1: (value) => envelope.hash = value,
    3: (value) => envelope.event = value,
  });
  return envelope;
}

function headerOf(
  event: Uint8Array,
): Omit<DecodedMiniblock, "header" | "events"> | undefined {
  let data: Uint8Array | undefined;
  eachField(event, { 100: (value) => data = value });
  if (data === undefined) return undefined;
  const header = {
    number: 0n,
    previousHash: none,
    eventHashes: [] as Uint8Array[],
  };
  eachField(data, {
    2: (value) => header.previousHash = value,
    4: (value) => header.eventHashes.push(value),
  }, (field, value) => {
    if (field === 1) header.number = BigInt.asIntN(64, value);
  });
  return header;
}

/** Calls back with the message's fields: bytes and, if wanted, numbers. */
function eachField(
  data: Uint8Array,
  bytes: Record<number, (value: Uint8Array) => void>,
  number?: (field: number, value: bigint) => void,
): void {
  const reader = new BinaryReader(data);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.LengthDelimited && bytes[field] !== undefined) {
      bytes[field](reader.bytes());
    } else if (type === WireType.Varint && number !== undefined) {
      number(field, BigInt(reader.uint64()));
    } else reader.skip(type, field);
  }
}
