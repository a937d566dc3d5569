/**
 * The store's own reader of the wire format against the library's, over random
 * messages and at the limits.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { WireReader, WireType } from "../../src/storage/wire_reader.ts";

interface Reader {
  tag(): [field: number, type: number];
  uint32(): number;
  bytes(): Uint8Array;
  skip(type: number, field: number): unknown;
}

/** The fields that a reader finds in a message, up to one that it refuses. */
function fieldsOf(reader: Reader, hasMore: () => boolean): unknown[] {
  const found: unknown[] = [];
  try {
    while (hasMore()) {
      const [field, type] = reader.tag();
      found.push([field, type]);
      // Numbers are read or skipped, so that both ways are compared.
      if (type === WireType.Varint && field % 2 === 0) {
        found.push(reader.uint32());
      } else if (type === WireType.LengthDelimited) {
        found.push([...reader.bytes()]);
      } else {
        reader.skip(type, field);
      }
    }
  } catch {
    found.push("refused");
  }
  return found;
}

function ours(data: Uint8Array): unknown[] {
  const reader = new WireReader(data);
  return fieldsOf(reader, () => reader.hasMore);
}

function theirs(data: Uint8Array): unknown[] {
  const reader = new BinaryReader(data);
  return fieldsOf(reader, () => reader.pos < reader.len);
}

type Write = (writer: BinaryWriter) => unknown;

const anyField = fc.integer({ min: 1, max: 2 ** 29 - 1 });

/** A field of every wire type; groups have fields of their own. */
const { field: anyWrite } = fc.letrec<{ field: Write }>((tie) => ({
  field: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.tuple(anyField, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }))
      .map(([field, value]): Write => (writer) =>
        writer.tag(field, WireType.Varint).int64(value)
      ),
    fc.tuple(anyField, fc.uint8Array({ maxLength: 200 }))
      .map(([field, value]): Write => (writer) =>
        writer.tag(field, WireType.LengthDelimited).bytes(value)
      ),
    anyField.map((field): Write => (writer) =>
      writer.tag(field, WireType.Bit64).fixed64(7)
    ),
    anyField.map((field): Write => (writer) =>
      writer.tag(field, WireType.Bit32).fixed32(7)
    ),
    fc.tuple(anyField, fc.array(tie("field"), { maxLength: 3 }))
      .map(([field, inner]): Write => (writer) => {
        writer.tag(field, WireType.StartGroup);
        for (const write of inner) write(writer);
        writer.tag(field, WireType.EndGroup);
      }),
  ),
}));

const anyMessage = fc.array(anyWrite, { maxLength: 6 }).map((writes) => {
  const writer = new BinaryWriter();
  for (const write of writes) write(writer);
  return writer.finish();
});

describe("The reader of the wire format", () => {
  it("finds in a message what the library finds", () => {
    fc.assert(fc.property(anyMessage, (data) => {
      const found = ours(data);
      assert.deepEqual(found, theirs(data));
      assert.ok(!found.includes("refused"));
    }));
  });

  it("refuses what the library refuses, after the same fields", () => {
    const damaged = fc.tuple(
      anyMessage,
      fc.array(fc.tuple(fc.nat(500), fc.nat(255)), { maxLength: 4 }),
      fc.nat(500),
    ).map(([data, changes, length]) => {
      const copy = data.slice(0, Math.max(length, 1));
      for (const [at, value] of changes) {
        if (copy.length > 0) copy[at % copy.length] = value;
      }
      return copy;
    });
    const varints = fc.array(fc.constantFrom(0, 1, 8, 15, 127, 128, 255), {
      maxLength: 24,
    }).map((bytes) => new Uint8Array(bytes));
    fc.assert(
      fc.property(
        fc.oneof(damaged, varints, fc.uint8Array({ maxLength: 60 })),
        (data) => assert.deepEqual(ours(data), theirs(data)),
      ),
      { numRuns: 1000 },
    );
  });

  it("has the library's limits of a number's length", () => {
    for (const field of [1, 2]) {
      for (let length = 1; length <= 12; length++) {
        const number = [...Array<number>(length - 1).fill(0xff), 1];
        const data = new Uint8Array([field << 3, ...number]);
        const found = ours(data);
        assert.deepEqual(found, theirs(data), `${field}, ${length} bytes`);
      }
    }
  });

  it("has the library's limit of groups in groups", () => {
    for (const depth of [100, 101, 100_000]) {
      const data = new Uint8Array(2 * depth);
      data.fill(0x13, 0, depth).fill(0x14, depth);
      const found = ours(data);
      assert.deepEqual(found, theirs(data), `${depth} groups`);
      assert.equal(found.includes("refused"), depth > 100);
    }
  });
});
