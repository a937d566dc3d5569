/** Stream ids as the protocol makes them. */
import { parseStreamId, type StreamId, type StreamType } from "../../mod.ts";
import type { Random } from "./random.ts";

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

/** Types whose id is an address and zeros, not a hash. */
const addressed = /^(space|user.*)$/;

/** A new id of this type. */
export function streamIdOf(type: NamedStreamType, random: Random): StreamId {
  const id = random.bytes(32);
  id[0] = prefixes[type];
  if (addressed.test(type)) id.fill(0, 21);
  return parseStreamId(id);
}
