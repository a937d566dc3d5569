/** Makes stream ids as the protocol does. */
import { parseStreamId, type StreamId, type StreamType } from "../../mod.ts";
import type { Random } from "../../tests/support/random.ts";

const prefixes: Record<Exclude<StreamType, "unknown">, number> = {
  space: 0x10,
  channel: 0x20,
  dm: 0x88,
  gdm: 0x77,
  media: 0xff,
  metadata: 0xdd,
  user: 0xa8,
  user_settings: 0xa5,
  user_inbox: 0xa1,
  user_metadata: 0xad,
};

/** A type that a new stream can have. */
export type NamedStreamType = keyof typeof prefixes;

/** How many bytes the ids of a type use, if not all; the rest are zeros. */
const usedBytes: Partial<Record<NamedStreamType, number>> = {
  space: 21,
  metadata: 9,
  user: 21,
  user_settings: 21,
  user_inbox: 21,
  user_metadata: 21,
};

/** Makes a new id of this type. */
export function streamIdOf(type: NamedStreamType, random: Random): StreamId {
  const id = random.bytes(32);
  id[0] = prefixes[type];
  id.fill(0, usedBytes[type] ?? id.length);
  return parseStreamId(id);
}
