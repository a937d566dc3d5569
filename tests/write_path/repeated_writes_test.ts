/**
 * A caller repeats a write that was acknowledged, and the repetition is refused
 * as the contract says, although the rows that it finds are those it would
 * write. The contract's suite can't contain this: it also runs over lost
 * connections, where the store takes such rows for its own.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryStreamStorage } from "../../mod.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../src/storage/stream_storage.ts";
import {
  assertFails,
  block,
  bytes,
  candidate,
  type ExpectedError,
  mediaGenesis,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { openTestStorage } from "../support/storage.ts";

type Call = (storage: StreamStorage, id: StreamId) => Promise<unknown>;

const exists = (reason: string): ExpectedError => ({
  code: "ALREADY_EXISTS",
  reason,
});
const genesis: Call = (s, id) => s.createStreamStorage(id, block(0));
const large = new Uint8Array(100_000).fill(1);

/** The calls before a write, the write, and the error of its repetition. */
const WRITES: Record<string, [before: Call[], Call, ExpectedError]> = {
  createStreamStorage: [[], genesis, exists("stream_exists")],
  "createStreamStorage, large": [
    [],
    (s, id) => s.createStreamStorage(id, { number: 0n, data: large }),
    exists("stream_exists"),
  ],
  createEphemeralStreamStorage: [
    [],
    (s, id) => s.createEphemeralStreamStorage(id, block(0)),
    exists("stream_exists"),
  ],
  createStreamArchiveStorage: [
    [],
    (s, id) => s.createStreamArchiveStorage(id),
    exists("stream_exists"),
  ],
  "reinitializeStreamStorage, new": [
    [],
    (s, id) => s.reinitializeStreamStorage(id, [snapshotBlock(0)], 0n, false),
    exists("stream_exists"),
  ],
  "reinitializeStreamStorage, known": [
    [genesis],
    (s, id) => s.reinitializeStreamStorage(id, [snapshotBlock(5)], 5n, true),
    { code: "INVALID_ARGUMENT", reason: "not_above_last" },
  ],
  deleteStream: [[genesis], (s, id) => s.deleteStream(id), {
    code: "NOT_FOUND",
    reason: "stream_not_found",
  }],
  writeEvent: [[genesis], (s, id) => s.writeEvent(id, 1n, 0, bytes("event")), {
    code: "DB_OPERATION_FAILURE",
    reason: "minipool_slot_mismatch",
    details: { expected: 0, actual: 1 },
  }],
  writeMiniblocks: [
    [genesis],
    (s, id) =>
      s.writeMiniblocks(id, [block(1)], { generation: 2n, envelopes: [] }, {
        generation: 1n,
        size: 0,
      }),
    { code: "INTERNAL", reason: "last_miniblock_mismatch" },
  ],
  "writeMiniblocks, large": [
    [genesis],
    (s, id) =>
      s.writeMiniblocks(
        id,
        [{ number: 1n, data: large }],
        { generation: 2n, envelopes: [] },
        { generation: 1n, size: 0 },
      ),
    { code: "INTERNAL", reason: "last_miniblock_mismatch" },
  ],
  writeArchiveMiniblocks: [
    [(s, id) => s.createStreamArchiveStorage(id)],
    (s, id) => s.writeArchiveMiniblocks(id, 0n, [block(0)]),
    { code: "DB_OPERATION_FAILURE", reason: "archive_position_mismatch" },
  ],
  writeEphemeralMiniblock: [
    [(s, id) => s.writeEphemeralMiniblock(id, block(0))],
    (s, id) => s.writeEphemeralMiniblock(id, block(1)),
    exists("miniblock_exists"),
  ],
  "writeEphemeralMiniblock, the first": [
    [],
    (s, id) => s.writeEphemeralMiniblock(id, block(1)),
    exists("miniblock_exists"),
  ],
  normalizeEphemeralStream: [
    [(s, id) => s.writeEphemeralMiniblock(id, mediaGenesis(0).genesis)],
    (s, id) => s.normalizeEphemeralStream(id),
    { code: "NOT_FOUND", reason: "stream_not_ephemeral" },
  ],
  writeMiniblockCandidate: [
    [genesis],
    (s, id) => s.writeMiniblockCandidate(id, candidate(1)),
    exists("candidate_exists"),
  ],
};

async function checkAll(storage: StreamStorage): Promise<void> {
  for (const [name, [before, write, expected]] of Object.entries(WRITES)) {
    const id = newStreamId("media");
    for (const call of before) await call(storage, id);
    await write(storage, id);
    const operation = name.split(",")[0]!;
    await assertFails(write(storage, id), { ...expected, operation });
    // Of two that run at once, one is refused, too.
    const other = newStreamId("media");
    for (const call of before) await call(storage, other);
    const results = await Promise.allSettled([
      write(storage, other),
      write(storage, other),
    ]);
    const statuses = results.map(({ status }) => status);
    assert.deepEqual(statuses, ["fulfilled", "rejected"], name);
  }
}

describe("The repetition of an acknowledged write", () => {
  it("is refused by PostgreSQL", async () => {
    await using test = await openTestStorage();
    await checkAll(test.storage);
  });

  it("is refused by the twin in memory", () =>
    checkAll(new MemoryStreamStorage()));
});
