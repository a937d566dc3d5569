/** Reads real messages of the protocol from the fixtures of the tests. */
import { Buffer } from "node:buffer";
import fixtures from "../../tests/fixtures/miniblocks.json" with {
  type: "json",
};

/** A real serialised Miniblock. */
export interface RealMiniblock {
  data: Uint8Array;
  /** The hash of its header, 32 bytes. */
  hash: Uint8Array;
}

/** Returns the message with this name in `tests/fixtures/miniblocks.json`. */
export function realMiniblock(name: string): RealMiniblock {
  const item = fixtures.items.find((item) => item.name === name);
  if (item === undefined) throw new Error(`No fixture is named ${name}`);
  return {
    data: new Uint8Array(Buffer.from(item.base64, "base64")),
    hash: new Uint8Array(Buffer.from(item.headerHash, "hex")),
  };
}
