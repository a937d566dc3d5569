/**
 * The hash against published values, those of nodes, and a plain version of it.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { xxh64 } from "../../src/storage/xxh64.ts";

function hex(data: Uint8Array): string {
  const { high, low } = xxh64(data);
  return [high, low].map((word) => word.toString(16).padStart(8, "0")).join("");
}

/** XXH64 in 64-bit arithmetic, as its specification describes it. */
function reference(data: Uint8Array): string {
  const [p1, p2, p3, p4, p5] = [
    0x9e3779b185ebca87n,
    0xc2b2ae3d27d4eb4fn,
    0x165667b19e3779f9n,
    0x85ebca77c2b2ae63n,
    0x27d4eb2f165667c5n,
  ] as const;
  const u64 = (value: bigint) => BigInt.asUintN(64, value);
  const rotl = (value: bigint, bits: bigint) =>
    u64(value << bits) | (u64(value) >> (64n - bits));
  const round = (lane: bigint, input: bigint) =>
    u64(rotl(u64(lane + u64(input * p2)), 31n) * p1);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  let hash: bigint = p5;
  if (data.length >= 32) {
    const lanes = [u64(p1 + p2), p2, 0n, u64(-p1)];
    for (; at + 32 <= data.length; at += 32) {
      lanes.forEach((lane, i) => {
        lanes[i] = round(lane, view.getBigUint64(at + 8 * i, true));
      });
    }
    const shifts = [1n, 7n, 12n, 18n];
    hash = lanes.reduce((sum, v, i) => u64(sum + rotl(v, shifts[i] ?? 0n)), 0n);
    for (const lane of lanes) hash = u64((hash ^ round(0n, lane)) * p1 + p4);
  }
  hash = u64(hash + BigInt(data.length));
  for (; at + 8 <= data.length; at += 8) {
    const lane = round(0n, view.getBigUint64(at, true));
    hash = u64(rotl(hash ^ lane, 27n) * p1 + p4);
  }
  for (; at + 4 <= data.length; at += 4) {
    const lane = u64(BigInt(view.getUint32(at, true)) * p1);
    hash = u64(rotl(hash ^ lane, 23n) * p2 + p3);
  }
  for (; at < data.length; at++) {
    hash = u64(rotl(hash ^ u64(BigInt(view.getUint8(at)) * p5), 11n) * p1);
  }
  hash = u64((hash ^ (hash >> 33n)) * p2);
  hash = u64((hash ^ (hash >> 29n)) * p3);
  return (hash ^ (hash >> 32n)).toString(16).padStart(16, "0");
}

describe("xxh64", () => {
  it("agrees with published values", () => {
    const values: Record<string, string> = {
      "": "ef46db3751d8e999",
      "a": "d24ec4f1a98c6e5b",
      "abc": "44bc2cf5ad770999",
    };
    for (const [text, expected] of Object.entries(values)) {
      assert.equal(hex(new TextEncoder().encode(text)), expected);
    }
  });

  it("agrees with the nodes on stream ids", () => {
    const vectors: { suffixes: { streamId: string; xxh64: string }[] } = JSON
      .parse(readFileSync(
        new URL("../fixtures/partition-vectors.json", import.meta.url),
        "utf8",
      ));
    for (const { streamId, xxh64 } of vectors.suffixes) {
      assert.equal(hex(new TextEncoder().encode(streamId)), xxh64);
    }
  });

  it("agrees with the specification at every length", () => {
    const data = new Uint8Array(200).map((_, i) => (i * 7919 + 13) & 0xff);
    for (let length = 0; length <= data.length; length++) {
      const part = data.subarray(data.length - length);
      assert.equal(hex(part), reference(part), `Length ${length}`);
    }
  });

  it("agrees with the specification on any bytes", () => {
    fc.assert(fc.property(
      fc.uint8Array({ maxLength: 150 }),
      (data) => assert.equal(hex(data), reference(data)),
    ));
  });
});
