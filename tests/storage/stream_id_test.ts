/**
 * Stream ids, their partitions, and names and locks of schemas, which must
 * agree with those of existing nodes.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import {
  bytesToHex,
  hexToBytes,
  isStoredForm,
  isStreamId,
  parseStreamId,
  partitionSuffix,
  schemaLockId,
  schemaNameForArchive,
  schemaNameFromAddress,
  type StreamId,
  type StreamType,
  streamType,
} from "../../src/storage/stream_id.ts";

interface Vectors {
  suffixes: {
    type: StreamType;
    streamId: StreamId;
    suffix: Record<string, string>;
  }[];
  schemaLockIds: { schema: string; lockId: string }[];
}

const vectors: Vectors = JSON.parse(readFileSync(
  new URL("../fixtures/partition-vectors.json", import.meta.url),
  "utf8",
));
const HEX = "10ab".repeat(10) + "10" + "00".repeat(11);
const refused = (error: unknown) =>
  isStreamStorageError(error, "BAD_STREAM_ID");

describe("parseStreamId", () => {
  it("accepts hex with and without 0x, in any case, and bytes", () => {
    const bytes = hexToBytes(HEX);
    for (
      const value of [
        HEX,
        `0x${HEX}`,
        HEX.toUpperCase(),
        `0x${HEX.toUpperCase()}`,
        bytes,
      ]
    ) {
      assert.equal(parseStreamId(value), HEX);
    }
  });

  it("refuses anything else with BAD_STREAM_ID", () => {
    const bad: unknown[] = [
      "",
      "0x",
      HEX.slice(1),
      `${HEX}0`,
      ` ${HEX}`,
      `${HEX}\n`,
      `0x0x${HEX.slice(4)}`,
      "g".repeat(64),
      new Uint8Array(31),
      new Uint8Array(33),
      undefined,
      null,
      64,
      [HEX],
    ];
    for (const value of bad) {
      assert.throws(() => parseStreamId(value as string), refused);
    }
  });

  it("names the rule that an id breaks", () => {
    const rules: [string, RegExp][] = [
      ["00".repeat(32), /must begin with the byte of a stream type/],
      [`${HEX.slice(0, 63)}1`, /must have only zeros from byte 21 on/],
      ["dd".repeat(10).padEnd(64, "0"), /only zeros from byte 9 on/],
    ];
    for (const [id, message] of rules) {
      assert.throws(() => parseStreamId(id), (error) => {
        assert.match((error as Error).message, message);
        return refused(error);
      });
    }
  });
});

describe("isStreamId", () => {
  it("holds for the stored form only", () => {
    assert.equal(isStreamId(HEX), true);
    for (const value of [HEX.toUpperCase(), `0x${HEX}`, `${HEX}\n`, "", null]) {
      assert.equal(isStreamId(value), false);
    }
  });

  it("holds for the ids that nodes can read, as does parseStreamId", () => {
    const used = { dd: 9, "20": 32, "88": 32, "77": 32, ff: 32 } as const;
    const addressed = ["10", "a8", "a5", "a1", "ad"];
    fc.assert(fc.property(
      fc.oneof(
        fc.constantFrom(...Object.keys(used), ...addressed),
        fc.string(),
      ),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.nat(32),
      (prefix, bytes, zerosFrom) => {
        bytes.fill(0, zerosFrom);
        if (/^[0-9a-f]{2}$/.test(prefix)) bytes[0] = parseInt(prefix, 16);
        const id = bytesToHex(bytes);
        const first = id.slice(0, 2);
        const length = addressed.includes(first)
          ? 21
          : used[first as keyof typeof used] ?? 0;
        const isReadable = length > 0 &&
          bytes.subarray(length).every((byte) => byte === 0);
        assert.equal(isStreamId(id), isReadable);
        assert.equal(isStoredForm(id), true);
        if (isReadable) assert.equal(parseStreamId(bytes), id);
        else assert.throws(() => parseStreamId(id), refused);
      },
    ));
  });
});

describe("streamType", () => {
  it("reads the type from the first byte", () => {
    for (const { type, streamId } of vectors.suffixes) {
      assert.equal(streamType(streamId), type);
    }
    assert.equal(streamType("00".repeat(32) as StreamId), "unknown");
  });
});

describe("partitionSuffix", () => {
  it("agrees with the nodes", () => {
    assert.ok(vectors.suffixes.length > 0);
    for (const { streamId, suffix } of vectors.suffixes) {
      for (const [partitions, expected] of Object.entries(suffix)) {
        assert.equal(partitionSuffix(streamId, Number(partitions)), expected);
      }
    }
  });

  it("refuses a number of partitions that no store has", () => {
    for (const partitions of [0, -1, 257, 1.5, NaN, "5" as never]) {
      assert.throws(
        () => partitionSuffix(HEX as StreamId, partitions),
        (error) => isStreamStorageError(error, "INVALID_ARGUMENT"),
      );
    }
  });
});

describe("Schema names and lock ids", () => {
  it("agree with the nodes", () => {
    assert.ok(vectors.schemaLockIds.length > 0);
    for (const { schema, lockId } of vectors.schemaLockIds) {
      assert.equal(schemaLockId(schema), BigInt(lockId));
    }
    assert.equal(schemaNameFromAddress("0xDeadBeef"), "s0xdeadbeef");
    assert.equal(schemaNameForArchive("Node00"), "archnode00");
  });
});
