/**
 * The messages that we send (PostgreSQL documentation, "Message Formats"),
 * gathered into as few buffers as possible so that a whole transaction leaves
 * in one write.
 */

import { Buffer } from "node:buffer";
import { baseType, oidOf, type PgType } from "./types.ts";

/** Values of this size or more are handed to the socket without a copy. */
const zeroCopyBytes = 8 * 1024;
const chunkBytes = 64 * 1024;
/** With the chunk in use, as much as a full batch of small writes needs. */
const maxSpare = 4;
/** Up to this length, a loop over ASCII is faster than a runtime call. */
const asciiLoop = 128;

const copyHeader = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");

/**
 * Writes frontend messages; `take` hands over what was written. The memory is
 * reused once its content has left: if every message took new memory, the
 * runtime would collect garbage every few hundred transactions.
 */
export class FrontendWriter {
  #full: Buffer[] = [];
  #chunk: Buffer = Buffer.allocUnsafe(chunkBytes);
  /** A view of the chunk: Deno's Buffer is 20 times as slow for a bigint. */
  #view = viewOf(this.#chunk);
  #start = 0;
  #at = 0;
  #bytes = 0;
  /** Full chunks that may not have left yet, and chunks that have. */
  readonly #leaving: Buffer[] = [];
  readonly #spare: Buffer[] = [];

  /** A simple query: one or several statements as text. */
  query(text: string): void {
    const length = Buffer.byteLength(text);
    this.#open(0x51, 5 + length);
    this.#cstring(text, length);
  }

  parse(name: string, text: string, params: readonly PgType[]): void {
    const length = Buffer.byteLength(text);
    this.#open(0x50, 4 + name.length + 1 + length + 1 + 2 + 4 * params.length);
    this.#cstring(name, name.length);
    this.#cstring(text, length);
    this.#int16(params.length);
    for (const type of params) this.#int32(oidOf(type));
  }

  /** Bind to the unnamed portal, all binary, then Execute it to the end. */
  bindExecute(
    name: string,
    types: readonly PgType[],
    values: readonly unknown[],
  ): void {
    let length = 4 + 1 + name.length + 1 + 2 + 2 + 2 + 2 + 2;
    for (let i = 0; i < types.length; i++) {
      length += 4 + sizeOf(types[i]!, values[i]);
    }
    this.#open(0x42, length);
    this.#chunk[this.#at++] = 0;
    this.#cstring(name, name.length);
    this.#int16(1);
    this.#int16(1);
    this.#int16(types.length);
    for (let i = 0; i < types.length; i++) this.#value(types[i]!, values[i]);
    this.#int16(1);
    this.#int16(1);
    this.#open(0x45, 9);
    this.#chunk[this.#at++] = 0;
    this.#int32(0);
  }

  closeStatement(name: string): void {
    this.#open(0x43, 4 + 1 + name.length + 1);
    this.#chunk[this.#at++] = 0x53;
    this.#cstring(name, name.length);
  }

  sync(): void {
    this.#open(0x53, 4);
  }

  /** All rows of a COPY FROM STDIN (FORMAT binary), ended by CopyDone. */
  copyRows(
    types: readonly PgType[],
    rows: Iterable<readonly unknown[]>,
  ): void {
    this.beginCopy();
    for (const row of rows) this.copyRow(types, row);
    this.endCopy();
  }

  /** Begins such a COPY; its rows and its end follow later. */
  beginCopy(): void {
    this.#open(0x64, 4 + copyHeader.length);
    this.#raw(copyHeader);
  }

  copyRow(types: readonly PgType[], row: readonly unknown[]): void {
    let length = 4 + 2;
    for (let i = 0; i < types.length; i++) {
      length += 4 + sizeOf(types[i]!, row[i]);
    }
    this.#open(0x64, length);
    this.#int16(types.length);
    for (let i = 0; i < types.length; i++) this.#value(types[i]!, row[i]);
  }

  endCopy(): void {
    this.#open(0x64, 6);
    this.#int16(-1);
    this.#open(0x63, 4);
  }

  /** Appends what another writer has written. */
  append(chunks: readonly Buffer[]): void {
    this.#seal();
    for (const chunk of chunks) {
      this.#full.push(chunk);
      this.#bytes += chunk.length;
    }
  }

  /** The number of bytes written since the last `take`. */
  get bytes(): number {
    return this.#bytes + this.#at - this.#start;
  }

  /** Everything written since the last call, ready for the socket. */
  take(): Buffer[] {
    this.#seal();
    const full = this.#full;
    this.#full = [];
    this.#bytes = 0;
    return full;
  }

  /** Called when all taken memory has left and may be written again. */
  reuse(): void {
    if (this.bytes > 0) return;
    for (const chunk of this.#leaving.splice(0)) this.#keep(chunk);
    this.#begin(this.#chunk);
  }

  /**
   * Starts a message: its code, and the length of itself and the body. Reserves
   * room for the fixed parts; large values leave the chunk.
   */
  #open(code: number, length: number): void {
    this.#reserve(5 + Math.min(length, zeroCopyBytes));
    this.#chunk[this.#at++] = code;
    this.#int32(length);
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#chunk.length) return;
    this.#seal();
    if (this.#leaving.length < maxSpare) this.#leaving.push(this.#chunk);
    this.#begin(
      bytes > chunkBytes
        ? Buffer.allocUnsafe(bytes)
        : this.#spare.pop() ?? Buffer.allocUnsafe(chunkBytes),
    );
  }

  #begin(chunk: Buffer): void {
    if (chunk !== this.#chunk) this.#view = viewOf(chunk);
    this.#chunk = chunk;
    this.#start = 0;
    this.#at = 0;
  }

  /** A longer chunk was made for a single long text, and is not kept. */
  #keep(chunk: Buffer): void {
    const isUsual = chunk.length === chunkBytes;
    if (isUsual && this.#spare.length < maxSpare) this.#spare.push(chunk);
  }

  /** Moves the chunk's content to the list; its rest stays in use. */
  #seal(): void {
    if (this.#at === this.#start) return;
    this.#full.push(this.#chunk.subarray(this.#start, this.#at));
    this.#bytes += this.#at - this.#start;
    this.#start = this.#at;
  }

  #int16(value: number): void {
    this.#reserve(2);
    this.#at = this.#chunk.writeInt16BE(value, this.#at);
  }

  #int32(value: number): void {
    this.#reserve(4);
    this.#at = this.#chunk.writeInt32BE(value, this.#at);
  }

  #int64(value: bigint): void {
    // The view would silently truncate it.
    if (BigInt.asIntN(64, value) !== value) {
      throw new RangeError(`Expected an integer of 64 bits, got ${value}`);
    }
    this.#reserve(8);
    this.#view.setBigInt64(this.#at, value);
    this.#at += 8;
  }

  #cstring(text: string, length: number): void {
    this.#reserve(length + 1);
    this.#text(text, length);
    this.#chunk[this.#at++] = 0;
  }

  #raw(bytes: Uint8Array): void {
    if (bytes.length >= zeroCopyBytes) {
      this.#seal();
      this.#full.push(
        Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
      );
      this.#bytes += bytes.length;
      return;
    }
    this.#reserve(bytes.length);
    this.#chunk.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #value(type: PgType, value: unknown): void {
    this.#reserve(12);
    if (value === null || value === undefined) return this.#int32(-1);
    const base = baseType(type);
    switch (base) {
      case "bytea":
        this.#int32((value as Uint8Array).length);
        return this.#raw(value as Uint8Array);
      case "int8":
      case "xid8":
      case "timestamp":
        this.#int32(8);
        return this.#int64(value as bigint);
      case "int4":
        this.#int32(4);
        return this.#int32(value as number);
      case "int2":
        this.#int32(2);
        return this.#int16(value as number);
      case "tid":
        this.#int32(6);
        this.#int32(Math.floor((value as number) / 0x10000) | 0);
        // Two bytes, as a signed integer.
        return this.#int16(((value as number) << 16) >> 16);
      case "float8":
        this.#int32(8);
        this.#at = this.#chunk.writeDoubleBE(value as number, this.#at);
        return;
      case "bool":
        this.#int32(1);
        this.#chunk[this.#at++] = value === true ? 1 : 0;
        return;
      case "bpchar":
        return this.#ascii(value as string);
      case "text":
      case "varchar":
        return this.#string(value as string);
      case "int8[]":
      case "bpchar[]":
      case "bytea[]":
      case "xid8[]":
      case "tid[]":
        return this.#array(base, value as readonly unknown[]);
    }
  }

  /** Ids and hashes: their size needs no call of the runtime to count it. */
  #ascii(value: string): void {
    const { length } = value;
    this.#int32(length);
    this.#reserve(length);
    const chunk = this.#chunk;
    const at = this.#at;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) throw new RangeError("Expected a char(n) in ASCII");
      chunk[at + i] = code;
    }
    this.#at += length;
  }

  #string(value: string): void {
    const length = Buffer.byteLength(value);
    this.#int32(length);
    this.#reserve(length);
    this.#text(value, length);
  }

  /** Requires enough room, and in `length` the text's size in UTF-8. */
  #text(value: string, length: number): void {
    const chunk = this.#chunk;
    const at = this.#at;
    this.#at += length;
    if (length > asciiLoop || length !== value.length) {
      chunk.write(value, at, "utf8");
      return;
    }
    for (let i = 0; i < length; i++) chunk[at + i] = value.charCodeAt(i);
  }

  /** One dimension: dimensions, has-null flag, element type, size, lower bound. */
  #array(type: ArrayType, values: readonly unknown[]): void {
    const element = elementOf(type);
    this.#int32(sizeOf(type, values));
    this.#int32(values.length === 0 ? 0 : 1);
    this.#int32(values.includes(null) ? 1 : 0);
    this.#int32(oidOf(element));
    if (values.length === 0) return;
    this.#int32(values.length);
    this.#int32(1);
    for (const value of values) this.#value(element, value);
  }
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}

type ArrayType = "int8[]" | "bpchar[]" | "bytea[]" | "xid8[]" | "tid[]";

function elementOf(type: ArrayType): PgType {
  return type.slice(0, -2) as PgType;
}

/** The size of a value on the wire, without its length word. */
function sizeOf(type: PgType, value: unknown): number {
  if (value === null || value === undefined) return 0;
  const base = baseType(type);
  switch (base) {
    case "bytea":
      return (value as Uint8Array).length;
    case "bool":
      return 1;
    case "int2":
      return 2;
    case "int4":
      return 4;
    case "tid":
      return 6;
    case "int8":
    case "xid8":
    case "timestamp":
    case "float8":
      return 8;
    case "bpchar":
      return (value as string).length;
    case "text":
    case "varchar":
      return Buffer.byteLength(value as string);
    case "int8[]":
    case "bpchar[]":
    case "bytea[]":
    case "xid8[]":
    case "tid[]": {
      const values = value as readonly unknown[];
      const element = elementOf(base);
      let size = values.length === 0 ? 12 : 20;
      for (const item of values) size += 4 + sizeOf(element, item);
      return size;
    }
  }
}
