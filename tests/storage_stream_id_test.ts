import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { isStreamStorageError } from "../src/storage/errors.ts";
import {
  isStreamId,
  parseStreamId,
  partitionSuffix,
  schemaLockId,
  schemaNameForArchive,
  schemaNameFromAddress,
  type StreamId,
  type StreamType,
  streamType,
} from "../src/storage/stream_id.ts";

interface Vectors {
  suffixes: {
    type: StreamType;
    streamId: string;
    suffix: Record<string, string>;
  }[];
  schemaLockIds: { schema: string; lockId: string }[];
}

const vectors: Vectors = JSON.parse(readFileSync(
  new URL("./fixtures/partition-vectors.json", import.meta.url),
  "utf8",
));
const HEX = "10ab".repeat(16);

describe("parseStreamId", () => {
  it("takes hex with and without 0x, any case, and bytes", () => {
    const bytes = new Uint8Array(32).map((_, i) => i % 2 === 0 ? 0x10 : 0xab);
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
    assert.equal(parseStreamId(new Uint8Array(32)), "00".repeat(32));
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
      assert.throws(
        () => parseStreamId(value as string),
        (error) => isStreamStorageError(error, "BAD_STREAM_ID"),
      );
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
});

describe("streamType", () => {
  it("is told by the first byte", () => {
    for (const { type, streamId } of vectors.suffixes) {
      assert.equal(streamType(parseStreamId(streamId)), type);
    }
    assert.equal(streamType(parseStreamId("00".repeat(32))), "unknown");
  });
});

describe("partitionSuffix", () => {
  it("agrees with the nodes", () => {
    assert.ok(vectors.suffixes.length > 0);
    for (const { streamId, suffix } of vectors.suffixes) {
      const id = parseStreamId(streamId);
      for (const [partitions, expected] of Object.entries(suffix)) {
        assert.equal(partitionSuffix(id, Number(partitions)), expected);
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

describe("schema names and lock ids", () => {
  it("agree with the nodes", () => {
    assert.ok(vectors.schemaLockIds.length > 0);
    for (const { schema, lockId } of vectors.schemaLockIds) {
      assert.equal(schemaLockId(schema), BigInt(lockId));
    }
    assert.equal(schemaNameFromAddress("0xDeadBeef"), "s0xdeadbeef");
    assert.equal(schemaNameForArchive("Node00"), "archnode00");
  });
});
