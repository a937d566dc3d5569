/**
 * The PostgreSQL types that our statements use, with their object ids and their
 * binary wire formats (PostgreSQL source, `src/include/catalog/pg_type.dat` and
 * each type's `*recv`/`*send` function). All values are binary in both
 * directions: a `bytea` as text takes two bytes for each one, and a hex
 * conversion on both sides.
 */

/** The TypeScript type of every type that a statement can name. */
export interface PgTypes {
  bool: boolean;
  int2: number;
  int4: number;
  int8: bigint;
  float8: number;
  text: string;
  /** `char(n)` in ASCII, the type of ids: another would defeat the index. */
  bpchar: string;
  varchar: string;
  bytea: Uint8Array;
  /** The number of a transaction, which is never reused. */
  xid8: bigint;
  /** Microseconds since the beginning of 2000, in an unknown time zone. */
  timestamp: bigint;
  /** The position of a row: its block, times 2^16, plus its place there. */
  tid: number;
  "int8[]": readonly bigint[];
  "bpchar[]": readonly string[];
  "bytea[]": readonly (Uint8Array | null)[];
  "xid8[]": readonly bigint[];
  "tid[]": readonly number[];
}

/** A type's name; a `?` after it means that the value can be null. */
export type PgType = keyof PgTypes | `${keyof PgTypes}?`;

/** The TypeScript type of a value of PostgreSQL type `T`. */
export type ValueOf<T extends PgType> = T extends keyof PgTypes ? PgTypes[T]
  : T extends `${infer N extends keyof PgTypes}?` ? PgTypes[N] | null
  : never;

/** The tuple of values for a tuple of types. */
export type ValuesOf<T extends readonly PgType[]> = {
  -readonly [K in keyof T]: ValueOf<T[K]>;
};

const oids: Record<keyof PgTypes, number> = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  float8: 701,
  bpchar: 1042,
  varchar: 1043,
  "int8[]": 1016,
  "bpchar[]": 1014,
  "bytea[]": 1001,
  xid8: 5069,
  "xid8[]": 271,
  timestamp: 1114,
  tid: 27,
  "tid[]": 1010,
};

/** The type's name without the question mark. */
export function baseType(type: PgType): keyof PgTypes {
  return (type.endsWith("?") ? type.slice(0, -1) : type) as keyof PgTypes;
}

/** The server's object id of the type. */
export function oidOf(type: PgType): number {
  return oids[baseType(type)];
}

/** Reads one binary value from `bytes[start, end)`. */
export type Decoder = (bytes: Buffer, start: number, end: number) => unknown;

const readText: Decoder = (bytes, start, end) =>
  bytes.toString("utf8", start, end);

/**
 * A copy: the socket's buffer is reused for the next chunk, and callers must
 * never hold a view of it.
 */
export const decodeBytes: Decoder = (bytes, start, end) =>
  new Uint8Array(bytes.subarray(start, end));

const readInt8Array: Decoder = (bytes, start) => {
  const values: bigint[] = [];
  if (bytes.readInt32BE(start) === 0) return values;
  const count = bytes.readInt32BE(start + 12);
  let at = start + 20;
  for (let i = 0; i < count; i++) {
    values.push(bytes.readBigInt64BE(at + 4));
    at += 12;
  }
  return values;
};

/**
 * A statement that declares another type than the server returns would read
 * numbers from the wrong bytes; the size distinguishes the integer types.
 */
function sized(size: number, read: Decoder): Decoder {
  return (bytes, start, end) => {
    if (end - start !== size) {
      throw new RangeError(`Expected ${size} bytes, got ${end - start}`);
    }
    return read(bytes, start, end);
  };
}

const decoders: Partial<Record<keyof PgTypes, Decoder>> = {
  bool: sized(1, (bytes, start) => bytes[start] === 1),
  int2: sized(2, (bytes, start) => bytes.readInt16BE(start)),
  int4: sized(4, (bytes, start) => bytes.readInt32BE(start)),
  int8: sized(8, (bytes, start) => bytes.readBigInt64BE(start)),
  float8: sized(8, (bytes, start) => bytes.readDoubleBE(start)),
  text: readText,
  bpchar: readText,
  varchar: readText,
  bytea: decodeBytes,
  xid8: sized(8, (bytes, start) => bytes.readBigInt64BE(start)),
  timestamp: sized(8, (bytes, start) => bytes.readBigInt64BE(start)),
  tid: sized(
    6,
    (bytes, start) =>
      bytes.readUInt32BE(start) * 0x10000 + bytes.readUInt16BE(start + 4),
  ),
  "int8[]": readInt8Array,
};

/** The decoder of a result column's type. */
export function decoderOf(type: PgType): Decoder {
  const decoder = decoders[baseType(type)];
  if (decoder === undefined) {
    throw new TypeError(`Cannot read a result column of type ${type}`);
  }
  return decoder;
}

/** Reads a value that came in text format (simple query protocol). */
export const decodeText: Decoder = readText;
