/**
 * The few fields that the store reads of miniblocks, from the protocol's own
 * blocks, from damaged ones, and from random bytes.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import {
  hasLegacySnapshot,
  readMediaInception,
} from "../../src/storage/miniblock_proto.ts";

interface Fixture {
  name: string;
  about: { mediaInceptionChunkCount?: number; legacySnapshot: boolean };
  headerHash: string;
  data: Uint8Array;
}

const fixtures = (JSON.parse(readFileSync(
  new URL("../fixtures/miniblocks.json", import.meta.url),
  "utf8",
)).items as (Fixture & { base64: string })[]).map((item) => ({
  ...item,
  data: new Uint8Array(Buffer.from(item.base64, "base64")),
}));

function join(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function fixture(name: string): Uint8Array {
  const found = fixtures.find((item) => item.name === name);
  assert.ok(found, `No fixture ${name}`);
  return found.data;
}

describe("Miniblocks of the protocol", () => {
  for (const { name, about, headerHash, data } of fixtures) {
    it(`are read correctly: ${name}`, () => {
      assert.equal(hasLegacySnapshot(data), about.legacySnapshot);
      const inception = readMediaInception(data);
      assert.equal(inception?.chunkCount, about.mediaInceptionChunkCount);
      if (inception !== undefined) {
        const hex = Buffer.from(inception.headerHash).toString("hex");
        assert.equal(hex, headerHash);
      }
    });
  }

  it("give a hash with memory of its own, even from a Buffer", () => {
    const data = Buffer.from(fixture("media-genesis-3-chunks"));
    const hash = readMediaInception(data)?.headerHash;
    assert.equal(hash?.constructor, Uint8Array);
    const before = [...hash];
    data.fill(0);
    assert.deepEqual([...hash], before);
  });

  it("are merged as the wire format says", () => {
    const [genesis, plain, snapshot] = [
      fixture("media-genesis-3-chunks"),
      fixture("space-no-snapshot"),
      fixture("space-legacy-snapshot"),
    ];
    // Two headers are merged into one, in which the later event counts.
    assert.equal(hasLegacySnapshot(join(plain, snapshot)), true);
    assert.equal(hasLegacySnapshot(join(snapshot, plain)), false);
    // Of repeated events, the first counts.
    const chunk = fixture("media-chunk-0");
    assert.equal(readMediaInception(join(genesis, chunk))?.chunkCount, 3);
    assert.equal(readMediaInception(join(chunk, genesis)), undefined);
  });

  it("may carry unknown fields", () => {
    const unknown = new BinaryWriter()
      .tag(77, WireType.Varint).int64(-1)
      .tag(78, WireType.Bit64).fixed64(1)
      .tag(79, WireType.Bit32).fixed32(1)
      .tag(80, WireType.LengthDelimited).bytes(new Uint8Array(300))
      .tag(81, WireType.StartGroup).tag(81, WireType.EndGroup).finish();
    const data = join(unknown, fixture("media-genesis-3-chunks"), unknown);
    assert.equal(hasLegacySnapshot(data), true);
    assert.equal(readMediaInception(data)?.chunkCount, 3);
  });

  it("have a chunk count of 0 if the field is absent or of another type", () => {
    const genesis = (inception: Uint8Array) => {
      const nest = (fieldNo: number, body: Uint8Array) =>
        new BinaryWriter().tag(fieldNo, WireType.LengthDelimited).bytes(body)
          .finish();
      const event = nest(3, nest(108, nest(1, inception)));
      return join(nest(1, event), nest(2, nest(1, new Uint8Array(32))));
    };
    const others = new BinaryWriter().tag(4, WireType.Varint).int32(9)
      .tag(3, WireType.LengthDelimited).bytes(new Uint8Array(3)).finish();
    for (const inception of [new Uint8Array(), others]) {
      assert.equal(readMediaInception(genesis(inception))?.chunkCount, 0);
    }
  });

  it("have neither a legacy snapshot nor an inception if they are cut", () => {
    for (const { data } of fixtures) {
      for (let length = 0; length < data.length; length++) {
        const cut = data.subarray(0, length);
        assert.equal(hasLegacySnapshot(cut), false);
        assert.equal(readMediaInception(cut), undefined);
      }
    }
  });

  it("cause no exception, whatever their bytes are", () => {
    const damaged = fc.tuple(
      fc.constantFrom(...fixtures.map(({ data }) => data)),
      fc.array(fc.tuple(fc.nat(600), fc.nat(255)), { maxLength: 6 }),
    ).map(([data, changes]) => {
      const copy = new Uint8Array(data);
      for (const [at, value] of changes) copy[at % copy.length] = value;
      return copy;
    });
    fc.assert(
      fc.property(
        fc.oneof(damaged, fc.uint8Array({ maxLength: 300 })),
        (data) => {
          assert.equal(typeof hasLegacySnapshot(data), "boolean");
          const hash = readMediaInception(data)?.headerHash;
          assert.ok(hash === undefined || hash.length === 32);
        },
      ),
      { numRuns: 500 },
    );
    assert.equal(hasLegacySnapshot(new Uint8Array(100_000).fill(0x13)), false);
  });
});
