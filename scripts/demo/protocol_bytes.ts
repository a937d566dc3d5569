/**
 * Makes messages of the protocol: envelopes with a hash, a signature and an
 * event, and miniblocks of such envelopes. Payloads are random, because real
 * ones are encrypted.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { StreamType } from "../../mod.ts";
import type { Random } from "../../tests/support/random.ts";

/** For each type of stream, the field of StreamEvent that holds the payload. */
const payloadFields: Record<StreamType, number> = {
  space: 102,
  channel: 103,
  user: 104,
  user_settings: 105,
  user_metadata: 106,
  user_inbox: 107,
  media: 108,
  dm: 109,
  gdm: 110,
  metadata: 111,
  unknown: 101,
};

const HEADER_FIELD = 100;

/**
 * Makes an envelope of about `size` bytes, 200 or more, for a type of stream.
 */
export function eventEnvelope(
  random: Random,
  type: StreamType,
  size: number,
): Uint8Array {
  const overhead = 170;
  const content = random.bytes(Math.max(1, size - overhead));
  return envelope(
    random,
    event(random, payloadFields[type], lengthDelimited(2, content)),
  );
}

/** What a miniblock contains. */
export interface MiniblockContent {
  number: bigint;
  previousHash: Uint8Array;
  /** Serialised envelopes. */
  events: readonly Uint8Array[];
  /** The snapshot; the block contains only its hash. */
  snapshot?: Uint8Array | undefined;
}

/** Makes a serialised miniblock, and the hash of its header. */
export function miniblock(
  random: Random,
  { number, previousHash, events, snapshot }: MiniblockContent,
): { data: Uint8Array; hash: Uint8Array } {
  const header = new BinaryWriter()
    .tag(1, WireType.Varint).int64(number)
    .tag(2, WireType.LengthDelimited).bytes(previousHash);
  for (const each of events) {
    header.tag(4, WireType.LengthDelimited).bytes(sha256(each));
  }
  if (snapshot !== undefined) {
    header.tag(8, WireType.LengthDelimited).bytes(sha256(snapshot));
  }
  const headerEvent = event(random, HEADER_FIELD, header.finish());
  const block = new BinaryWriter();
  for (const each of events) {
    block.tag(1, WireType.LengthDelimited).bytes(each);
  }
  block.tag(2, WireType.LengthDelimited).bytes(envelope(random, headerEvent));
  return { data: block.finish(), hash: sha256(headerEvent) };
}

/** Makes a serialised snapshot of about `size` bytes. */
export function snapshotBytes(random: Random, size: number): Uint8Array {
  return lengthDelimited(1, random.bytes(size));
}

function event(random: Random, field: number, payload: Uint8Array): Uint8Array {
  return new BinaryWriter()
    .tag(1, WireType.LengthDelimited).bytes(random.bytes(20)) // creator
    .tag(3, WireType.LengthDelimited).bytes(random.bytes(32)) // last block
    .tag(field, WireType.LengthDelimited).bytes(payload)
    .finish();
}

function envelope(random: Random, content: Uint8Array): Uint8Array {
  return new BinaryWriter()
    .tag(1, WireType.LengthDelimited).bytes(sha256(content))
    .tag(2, WireType.LengthDelimited).bytes(random.bytes(65)) // signature
    .tag(3, WireType.LengthDelimited).bytes(content)
    .finish();
}

function lengthDelimited(field: number, content: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited)
    .bytes(content).finish();
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}
