/**
 * Reads messages in Protocol Buffers' wire format
 * (protobuf.dev/programming-guides/encoding), as much of them as storing needs.
 * It accepts what the reader of `@bufbuild/protobuf` accepts, but is no npm
 * package: a program that imports this module would load that package at once.
 * Before Deno loads the first package, it looks at all packages of the project;
 * with the 300 of this repository, that takes 9 ms of the process's start.
 */

/** The wire types. */
export const WireType = {
  Varint: 0,
  Bit64: 1,
  LengthDelimited: 2,
  StartGroup: 3,
  EndGroup: 4,
  Bit32: 5,
} as const;

/** Groups in groups, at most. */
const maxDepth = 100;

/** Reads a message from its start; all methods throw where it is malformed. */
export class WireReader {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  /** Whether there are more fields. */
  get hasMore(): boolean {
    return this.#at < this.#data.length;
  }

  /** The next field's number and wire type. */
  tag(): [field: number, type: number] {
    const start = this.#at;
    const tag = this.uint32();
    const length = this.#at - start;
    const isTooLarge = length > 5 ||
      (length === 5 && this.#data[this.#at - 1]! > 0x0f);
    const [field, type] = [tag >>> 3, tag & 7];
    if (isTooLarge || field === 0 || type > WireType.Bit32) throw malformed();
    return [field, type];
  }

  /** A varint's lower 32 bits. */
  uint32(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#data[this.#at++];
      if (byte === undefined) throw malformed();
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw malformed();
  }

  /** A length-delimited value, as a view of the data. */
  bytes(): Uint8Array {
    const length = this.uint32();
    this.#advance(length);
    return this.#data.subarray(this.#at - length, this.#at);
  }

  /** Skips the value of a field. */
  skip(type: number, field: number, depth = maxDepth): void {
    switch (type) {
      case WireType.Varint:
        return this.#skipVarint();
      case WireType.Bit64:
        return this.#advance(8);
      case WireType.Bit32:
        return this.#advance(4);
      case WireType.LengthDelimited:
        return this.#advance(this.uint32());
      case WireType.StartGroup:
        return this.#skipGroup(field, depth);
      default:
        throw malformed();
    }
  }

  #skipVarint(): void {
    while (this.#data[this.#at]! >= 0x80) this.#at++;
    this.#advance(1);
  }

  #skipGroup(field: number, depth: number): void {
    if (depth === 0) throw malformed();
    for (;;) {
      const [inner, type] = this.tag();
      if (type !== WireType.EndGroup) this.skip(type, inner, depth - 1);
      else if (inner === field) return;
      else throw malformed();
    }
  }

  #advance(bytes: number): void {
    this.#at += bytes;
    if (this.#at > this.#data.length) throw malformed();
  }
}

function malformed(): Error {
  return new Error("Expected a message in the wire format");
}
