/**
 * The codec of the protocol against a plain one, written here, over random
 * messages and sizes.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import fc from "fast-check";
import { BackendReader } from "../../src/database/wire/backend.ts";
import { FrontendWriter } from "../../src/database/wire/frontend.ts";
import { decoderOf, type PgType } from "../../src/database/wire/types.ts";
import { int32, message } from "../support/login/server.ts";
import { patterned } from "../support/patterned.ts";

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function field(bytes: Uint8Array | null): Buffer {
  return bytes === null
    ? int32(-1)
    : Buffer.concat([int32(bytes.length), bytes]);
}

function dataRow(columns: (Uint8Array | null)[]): Buffer {
  return message(
    "D",
    Buffer.concat([int16(columns.length), ...columns.map(field)]),
  );
}

/** What a reader returns, in order. */
type Received = { row: unknown[] } | { letter: string; body: string };

function read(chunks: Iterable<Buffer>, columns: PgType[]): Received[] {
  const received: Received[] = [];
  const decoders = columns.map(decoderOf);
  const reader = new BackendReader({
    rowDecoders: () => decoders,
    row: (row) => received.push({ row }),
    message: (code, bytes, start, end) =>
      received.push({
        letter: String.fromCharCode(code),
        body: bytes.toString("latin1", start, end),
      }),
  });
  for (const chunk of chunks) {
    // The socket reuses its buffer, so no value may keep a view of it.
    const shared = Buffer.from(chunk);
    reader.feed(shared);
    shared.fill(0xee);
  }
  return received;
}

/** The stream of bytes, cut at the given places. */
function split(bytes: Buffer, cuts: number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))]
    .sort((a, b) => a - b);
  return [0, ...places].map((start, i) =>
    bytes.subarray(start, places[i] ?? bytes.length)
  );
}

const sizes = fc.oneof(
  fc.constantFrom(0, 1, 4, 5, 4083, 4084, 4096, 4097, 8191, 8192, 16_384),
  fc.nat(20_000),
);
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const bytea = sizes.map((size) => patterned(size, size));

describe("BackendReader", () => {
  const row = fc.tuple(
    fc.option(bytea),
    int64,
    fc.option(bytea),
    fc.string({ unit: "binary", maxLength: 40 }),
  );
  const columns: PgType[] = ["bytea?", "int8", "bytea?", "text"];
  const sent = fc.array(
    fc.oneof(
      row.map((values) => ({ row: values as unknown[] })),
      fc.record({ letter: fc.constantFrom("C", "Z", "1"), size: sizes }),
    ),
    { maxLength: 6 },
  );

  function encode(
    items: typeof sent extends fc.Arbitrary<infer T> ? T : never,
  ) {
    const expected: Received[] = [];
    const parts = items.map((item) => {
      if ("row" in item) {
        const [first, number, second, text] = item.row as [
          Uint8Array | null,
          bigint,
          Uint8Array | null,
          string,
        ];
        expected.push({ row: item.row });
        const big = Buffer.alloc(8);
        big.writeBigInt64BE(number);
        return dataRow([first, big, second, Buffer.from(text)]);
      }
      const body = Buffer.from(patterned(item.size));
      expected.push({ letter: item.letter, body: body.toString("latin1") });
      return message(item.letter, body);
    });
    return { bytes: Buffer.concat(parts), expected };
  }

  it("reads the same however the bytes are split", () => {
    fc.assert(
      fc.property(sent, fc.array(fc.nat()), (items, cuts) => {
        const { bytes, expected } = encode(items);
        assert.deepEqual(read(split(bytes, cuts), columns), expected);
      }),
      { numRuns: 300 },
    );
  });

  it("reads byte by byte", () => {
    fc.assert(
      fc.property(sent, (items) => {
        const { bytes, expected } = encode(items);
        const chunks = Array.from(bytes, (byte) => Buffer.from([byte]));
        assert.deepEqual(read(chunks, columns), expected);
      }),
      { numRuns: 20 },
    );
  });

  it("reads 5 MB in one row, in chunks of any size", () => {
    const large = patterned(5 * 1024 * 1024);
    const bytes = dataRow([large, new Uint8Array(0), null]);
    for (const size of [1 << 30, 65_536, 65_521, 1460, 7]) {
      const chunks = Array.from(
        { length: Math.ceil(bytes.length / size) },
        (_, i) => bytes.subarray(i * size, (i + 1) * size),
      );
      const received = read(chunks, ["bytea", "bytea", "bytea?"]);
      const { row } = received[0] as { row: unknown[] };
      assert.equal(Buffer.compare(row[0] as Uint8Array, large), 0);
      assert.deepEqual(row.slice(1), [new Uint8Array(0), null]);
    }
  });

  it("hands out plain arrays with memory of their own", () => {
    const small = patterned(100);
    const large = patterned(10_000);
    const bytes = dataRow([small, large]);
    for (const cuts of [[], [200], [3, 8000]]) {
      const [received] = read(split(bytes, cuts), ["bytea", "bytea"]);
      for (const value of (received as { row: Uint8Array[] }).row) {
        assert.equal(value.constructor, Uint8Array);
        assert.equal(value.buffer.byteLength, value.byteLength);
      }
    }
  });

  const broken: [string, Buffer][] = [
    ["a length below its own size", Buffer.from([0x44, 0, 0, 0, 3])],
    ["a length beyond any message", Buffer.from([0x44, 0x7f, 0, 0, 0])],
    ["another number of columns", dataRow([null])],
    ["another number of columns, spread", dataRow([patterned(9000)])],
    ["a value of another size", dataRow([Buffer.alloc(4), null])],
    [
      "a column that leaves its row",
      message(
        "D",
        Buffer.concat([int16(2), int32(99_999), Buffer.alloc(9000)]),
      ),
    ],
    [
      "a row that ends before its message",
      message(
        "D",
        Buffer.concat([int16(2), int32(-1), int32(-1), Buffer.alloc(9000)]),
      ),
    ],
  ];
  for (const [name, bytes] of broken) {
    it(`refuses ${name}`, () => {
      for (const cuts of [[], [6]]) {
        assert.throws(
          () => read(split(bytes, cuts), ["int8?", "bytea?"]),
          RangeError,
        );
      }
    });
  }
});

describe("FrontendWriter", () => {
  const parameters: PgType[] = [
    "bpchar",
    "bytea?",
    "bytea?",
    "int2",
    "bytea[]",
  ];
  const bound = fc.record({
    kind: fc.constant("bind" as const),
    text: fc.string({ maxLength: 64 }),
    first: fc.option(bytea),
    second: fc.option(bytea),
    list: fc.array(fc.option(bytea), { maxLength: 3 }),
  });
  const copied = fc.record({
    kind: fc.constant("copy" as const),
    rows: fc.array(fc.tuple(int64, fc.option(bytea)), { maxLength: 4 }),
  });
  const parsed = fc.record({
    kind: fc.constant("parse" as const),
    text: sizes.map((size) => "é".repeat(size / 2)),
  });
  type Item = { kind: string } & Record<string, unknown>;

  function write(writer: FrontendWriter, item: Item): void {
    if (item.kind === "parse") {
      writer.parse("s1", item["text"] as string, ["int8", "bytea[]"]);
    } else if (item.kind === "copy") {
      writer.copyRows(["int8", "bytea?"], item["rows"] as unknown[][]);
    } else {
      const { text, first, second, list } = item;
      writer.bindExecute("s12", parameters, [text, first, second, 7, list]);
    }
  }

  it("refuses an id that is not ASCII, because its size would differ", () => {
    for (const id of ["é", "\u0080", "🙂"]) {
      assert.throws(
        () => new FrontendWriter().bindExecute("", ["bpchar"], [id]),
        RangeError,
      );
    }
  });

  function byteaArray(list: (Uint8Array | null)[]): Buffer {
    return Buffer.concat([
      int32(list.length === 0 ? 0 : 1),
      int32(list.includes(null) ? 1 : 0),
      int32(17),
      ...(list.length === 0 ? [] : [int32(list.length), int32(1)]),
      ...list.map(field),
    ]);
  }

  function reference(item: Item): Buffer {
    if (item.kind === "parse") {
      const text = Buffer.from(`s1\0${item["text"]}\0`);
      const types = [int16(2), int32(20), int32(1001)];
      return message("P", Buffer.concat([text, ...types]));
    }
    if (item.kind === "copy") {
      const rows = item["rows"] as [bigint, Uint8Array | null][];
      const signature = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
      return Buffer.concat([
        message("d", Buffer.concat([signature, int32(0), int32(0)])),
        ...rows.map(([number, bytes]) => {
          const big = Buffer.alloc(8);
          big.writeBigInt64BE(number);
          const columns = [int16(2), field(big), field(bytes)];
          return message("d", Buffer.concat(columns));
        }),
        message("d", int16(-1)),
        message("c", Buffer.alloc(0)),
      ]);
    }
    const body = Buffer.concat([
      Buffer.from("\0s12\0"),
      int16(1),
      int16(1),
      int16(5),
      field(Buffer.from(item["text"] as string)),
      field(item["first"] as Uint8Array | null),
      field(item["second"] as Uint8Array | null),
      field(int16(7)),
      field(byteaArray(item["list"] as (Uint8Array | null)[])),
      int16(1),
      int16(1),
    ]);
    return Buffer.concat([
      message("B", body),
      message("E", Buffer.from([0, 0, 0, 0, 0])),
    ]);
  }

  it("writes messages of any size, and overwrites no bytes that were not sent", () => {
    const flush = fc.record({
      items: fc.array(fc.oneof(bound, copied, parsed), { maxLength: 5 }),
      left: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(flush, { maxLength: 20 }), (flushes) => {
        const writer = new FrontendWriter();
        const leaving: [sent: Buffer[], expected: Buffer][] = [];
        const leave = () => {
          for (const [sent, expected] of leaving.splice(0)) {
            assert.ok(Buffer.concat(sent).equals(expected));
          }
          writer.reuse();
        };
        for (const { items, left } of flushes) {
          for (const item of items) write(writer, item);
          writer.sync();
          const expected = Buffer.concat([
            ...items.map(reference),
            message("S", Buffer.alloc(0)),
          ]);
          assert.equal(writer.bytes, expected.length);
          leaving.push([writer.take(), expected]);
          assert.equal(writer.bytes, 0);
          if (left) leave();
        }
        leave();
      }),
      { numRuns: 300 },
    );
  });

  it("reuses its memory once the bytes were sent", () => {
    const writer = new FrontendWriter();
    const memory = () => {
      // As many bytes as a full batch of events, in several chunks.
      for (let nth = 0; nth < 40; nth++) write(writer, large);
      return new Set(writer.take().map(({ buffer }) => buffer));
    };
    const large = {
      kind: "bind",
      text: "",
      list: [],
      first: patterned(5000),
      second: null,
    };
    const first = memory();
    writer.reuse();
    assert.deepEqual(memory(), first);
  });

  it("overwrites no bytes that were not taken", () => {
    const writer = new FrontendWriter();
    writer.sync();
    writer.reuse();
    assert.equal(Buffer.concat(writer.take()).length, 5);
  });

  it("writes values that end where a chunk of memory ends", () => {
    // The writer reserves 64 KB at a time, and copies values below 8 KB there.
    for (let size = 3960; size < 4110; size++) {
      const writer = new FrontendWriter();
      const items = Array.from({ length: 9 }, () => ({
        kind: "bind",
        text: "",
        list: [],
        first: patterned(size),
        second: patterned(size),
      }));
      for (const each of items) write(writer, each);
      const sent = Buffer.concat(writer.take());
      assert.ok(sent.equals(Buffer.concat(items.map(reference))));
    }
  });
});
