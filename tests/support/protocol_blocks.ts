/** Blocks in the protocol's format, with correct hashes, which form a chain. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { eventHash } from "../../src/operator/verify/deep/protocol_hash.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import { bytes } from "../../src/testing/contract/support.ts";

/** The properties of a chain of blocks. */
export interface ChainOptions {
  /** Number of the first block. Default 0. */
  first?: number;
  count: number;
  /** Blocks with a snapshot beside them. */
  snapshots?: readonly number[];
  /** Blocks with a snapshot inside. */
  legacy?: readonly number[];
  /** The number of chunks, if it is a media stream. */
  chunks?: number;
  /** The size of each event's payload. */
  eventBytes?: number;
}

/** A chain of blocks, each with two events. */
export function chain(
  { first = 0, count, snapshots = [], legacy = [], chunks, eventBytes = 40 }:
    ChainOptions,
): MiniblockDescriptor[] {
  let previous: Uint8Array = first === 0
    ? new Uint8Array()
    : eventHash(bytes("before"));
  return Array.from({ length: count }, (_, i) => {
    const number = first + i;
    const events = [0, 1].map((nth) =>
      envelope(
        chunks !== undefined && number === 0 && nth === 0
          ? inception(chunks)
          : payload(`${number}.${nth}`, eventBytes),
      )
    );
    const header = envelope(
      headerEvent(number, previous, events, legacy.includes(number)),
    );
    const writer = new BinaryWriter();
    for (const event of events) {
      writer.tag(1, WireType.LengthDelimited).bytes(event.data);
    }
    const data = writer.tag(2, WireType.LengthDelimited).bytes(header.data)
      .finish();
    previous = header.hash;
    return {
      number: BigInt(number),
      data,
      ...(snapshots.includes(number) &&
        { snapshot: bytes(`snapshot ${number}`) }),
      ...(legacy.includes(number) && { hasLegacySnapshot: true }),
    };
  });
}

interface Envelope {
  hash: Uint8Array;
  data: Uint8Array;
}

function envelope(event: Uint8Array): Envelope {
  const hash = eventHash(event);
  const data = new BinaryWriter()
    .tag(1, WireType.LengthDelimited).bytes(hash)
    .tag(2, WireType.LengthDelimited).bytes(new Uint8Array(65))
    .tag(3, WireType.LengthDelimited).bytes(event)
    .finish();
  return { hash, data };
}

function nest(field: number, body: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(body)
    .finish();
}

function inception(chunks: number): Uint8Array {
  const body = new BinaryWriter().tag(3, WireType.Varint).int32(chunks)
    .finish();
  return nest(108, nest(1, body));
}

function payload(text: string, size: number): Uint8Array {
  const content = new Uint8Array(size);
  content.set(bytes(text).subarray(0, size));
  return nest(101, content);
}

function headerEvent(
  number: number,
  previous: Uint8Array,
  events: readonly Envelope[],
  hasSnapshot: boolean,
): Uint8Array {
  const header = new BinaryWriter()
    .tag(1, WireType.Varint).int64(number)
    .tag(2, WireType.LengthDelimited).bytes(previous);
  for (const { hash } of events) {
    header.tag(4, WireType.LengthDelimited).bytes(hash);
  }
  if (hasSnapshot) header.tag(5, WireType.LengthDelimited).bytes(bytes("old"));
  return nest(100, header.finish());
}
