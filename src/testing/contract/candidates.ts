/** writeMiniblockCandidate, readMiniblockCandidate, getMiniblockCandidateCount. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { BAD_DATA, BAD_NUMBERS, faultsOf, testFaultyCalls } from "./common.ts";
import type { Suite } from "./suite.ts";
import {
  assertFails,
  assertOwnBytes,
  assertRefused,
  assertStorageError,
  block,
  blockBy,
  candidate,
  hashOf,
  MAX_NUMBER,
  newStreamId,
  plantedStream,
  run,
  settle,
} from "./support.ts";

const BAD_HASHES: readonly [fault: string, value: Uint8Array][] = [
  ["31 bytes", new Uint8Array(31)],
  ["33 bytes", new Uint8Array(33)],
  ["a string", "00".repeat(32) as unknown as Uint8Array],
  ["undefined", undefined as unknown as Uint8Array],
];

/** Registers the tests. */
export function candidatesContract(suite: Suite): void {
  testArguments(suite);
  testReadArguments(suite);
  testWriting(suite);
  testWritingMore(suite);
  testReading(suite);
}

function testArguments(suite: Suite): void {
  testFaultyCalls(suite, "writeMiniblockCandidate", [
    ...faultsOf(
      "miniblock.data",
      BAD_DATA,
      (storage, data) =>
        storage.writeMiniblockCandidate(newStreamId(), {
          ...candidate(1),
          data,
        }),
    ),
    ...faultsOf(
      "miniblock.hash",
      BAD_HASHES,
      (storage, hash) =>
        storage.writeMiniblockCandidate(newStreamId(), {
          ...candidate(1),
          hash,
        }),
    ),
    ...faultsOf(
      "miniblock.number",
      BAD_NUMBERS,
      (storage, number) =>
        storage.writeMiniblockCandidate(newStreamId(), {
          ...candidate(1),
          number,
        }),
    ),
    {
      fault: "no hash",
      argument: "miniblock.hash",
      reason: "missing_hash",
      call: (storage) =>
        storage.writeMiniblockCandidate(newStreamId(), block(1)),
    },
    {
      fault: "empty data and no hash",
      argument: "miniblock.data",
      reason: "empty_bytes",
      call: (storage) =>
        storage.writeMiniblockCandidate(newStreamId(), {
          number: 1n,
          data: new Uint8Array(),
        }),
    },
    {
      fault: "no legacy snapshot in the data",
      argument: "miniblock.hasLegacySnapshot",
      reason: "no_legacy_snapshot",
      call: (storage) =>
        storage.writeMiniblockCandidate(newStreamId(), {
          ...candidate(1),
          hasLegacySnapshot: true,
        }),
    },
  ]);
}

function testReadArguments(suite: Suite): void {
  testFaultyCalls(suite, "readMiniblockCandidate", [
    ...faultsOf(
      "blockHash",
      BAD_HASHES,
      (storage, hash) =>
        storage.readMiniblockCandidate(newStreamId(), hash, 1n),
    ),
    ...faultsOf(
      "blockNumber",
      BAD_NUMBERS,
      (storage, number) =>
        storage.readMiniblockCandidate(newStreamId(), hashOf("hash"), number),
    ),
  ]);
  testFaultyCalls(
    suite,
    "getMiniblockCandidateCount",
    faultsOf(
      "miniblockNumber",
      BAD_NUMBERS,
      (storage, number) =>
        storage.getMiniblockCandidateCount(newStreamId(), number),
    ),
  );
}

function testWriting(suite: Suite): void {
  for (const number of [0n, 1n, 2n]) {
    suite.test(`a candidate for ${number} after block 2 is too old`, async ({ storage }) => {
      const id = newStreamId();
      await storage.createStreamStorage(id, block(0));
      await storage.writeMiniblocks(
        id,
        [block(1), block(2)],
        { generation: 3n, envelopes: [] },
        { generation: 1n },
      );
      await assertRefused(
        storage,
        id,
        () => storage.writeMiniblockCandidate(id, candidate(number)),
        {
          code: "MINIBLOCKS_STORAGE_FAILURE",
          reason: "candidate_too_old",
          details: { lastMiniblockInStorage: 2n, candidateMiniblock: number },
        },
      );
      assert.equal(await storage.getMiniblockCandidateCount(id, number), 0);
    });
  }

  suite.planted(
    "a candidate that is too old is not reported as existing",
    async ({ storage, plant }) => {
      const id = newStreamId();
      const old = candidate(2);
      await plant(id, { ...plantedStream(run(0, 2)), candidates: [old] });
      await assertFails(storage.writeMiniblockCandidate(id, old), {
        code: "MINIBLOCKS_STORAGE_FAILURE",
        reason: "candidate_too_old",
      });
    },
  );

  suite.planted(
    "a stream without blocks takes no candidate",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream([], { events: "no rows" }));
      await assertFails(storage.writeMiniblockCandidate(id, candidate(0)), {
        code: "NOT_FOUND",
        reason: "no_miniblocks",
      });
      assert.equal(await storage.getMiniblockCandidateCount(id, 0n), 0);
    },
  );
}

function testWritingMore(suite: Suite): void {
  suite.test("any future number and any hash is accepted, each once", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    const given = [
      candidate(1, "a"),
      candidate(1, "b"),
      candidate(2, "a"),
      candidate(MAX_NUMBER, "a"),
    ];
    for (const each of given) await storage.writeMiniblockCandidate(id, each);
    for (const each of given) {
      await assertFails(
        storage.writeMiniblockCandidate(id, { ...each, data: hashOf("other") }),
        {
          code: "ALREADY_EXISTS",
          reason: "candidate_exists",
          operation: "writeMiniblockCandidate",
        },
      );
    }
    const counts = [1n, 2n, 3n, MAX_NUMBER].map((number) =>
      storage.getMiniblockCandidateCount(id, number)
    );
    assert.deepEqual(await Promise.all(counts), [2, 1, 0, 1]);
  });

  suite.test("exactly one of several writers of one candidate wins", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    const { succeeded, errors } = await settle(
      run(1, 8).map((n) =>
        storage.writeMiniblockCandidate(id, {
          ...blockBy(n, 1),
          hash: hashOf("a"),
        })
      ),
    );
    assert.equal(succeeded, 1);
    for (const error of errors) {
      assertStorageError(error, { code: "ALREADY_EXISTS" });
    }
    assert.equal(await storage.getMiniblockCandidateCount(id, 1n), 1);
  });
}

function testReading(suite: Suite): void {
  suite.test("a candidate reads back with its hash and snapshot", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    const plain = candidate(1, "plain");
    const full = { ...candidate(1, "full"), snapshot: new Uint8Array([1, 2]) };
    const empty = { ...candidate(1, "empty"), snapshot: new Uint8Array() };
    const large = {
      ...candidate(1, "large"),
      data: new Uint8Array(100_000).fill(1),
      snapshot: new Uint8Array(100_000).fill(2),
    };
    for (const each of [plain, full, empty, large]) {
      await storage.writeMiniblockCandidate(id, each);
    }
    const read = (hash: string) =>
      storage.readMiniblockCandidate(id, hashOf(hash), 1n);
    assert.deepEqual(await read("plain"), plain);
    assert.deepEqual(await read("full"), full);
    assert.deepEqual(await read("empty"), candidate(1, "empty"));
    assert.deepEqual(await read("large"), large);
    await assertOwnBytes(() => read("full"));
    const hash = Buffer.from(hashOf("full"));
    const found = await storage.readMiniblockCandidate(id, hash, 1n);
    hash.fill(0);
    assert.deepEqual(found, full);
  });

  suite.test("a missing candidate is NOT_FOUND", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    await storage.writeMiniblockCandidate(id, candidate(1, "a"));
    for (
      const [hash, number] of [["b", 1n], ["a", 2n], ["a", MAX_NUMBER]] as const
    ) {
      await assertFails(
        storage.readMiniblockCandidate(id, hashOf(hash), number),
        {
          code: "NOT_FOUND",
          reason: "candidate_not_found",
          operation: "readMiniblockCandidate",
        },
      );
    }
  });
}
