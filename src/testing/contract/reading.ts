/** readMiniblocks, streamMiniblocks, getLastMiniblockNumber. */
import assert from "node:assert/strict";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import type { StreamStorage } from "../../storage/stream_storage.ts";
import {
  BAD_NUMBERS,
  faultsOf,
  type FaultyCall,
  testFaultyCalls,
} from "./common.ts";
import { numberRangesContract } from "./number_ranges.ts";
import type { PlantedStream, Suite } from "./suite.ts";
import {
  assertFails,
  assertStorageError,
  block,
  collect,
  type ExpectedError,
  legacyBlock,
  MAX_NUMBER,
  newStreamId,
  plantedStream,
  readBack,
  run,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function readingContract(suite: Suite): void {
  testArguments(suite);
  testRanges(suite);
  testSnapshots(suite);
  testStreaming(suite);
  testLeavingStream(suite);
  testLastNumber(suite);
  numberRangesContract(suite);
}

function testArguments(suite: Suite): void {
  testFaultyCalls(
    suite,
    "readMiniblocks",
    rangeFaults((storage, from, to, options) =>
      storage.readMiniblocks(newStreamId(), from, to, options)
    ),
  );
  testFaultyCalls(
    suite,
    "streamMiniblocks",
    rangeFaults((storage, from, to, options) =>
      collect(storage.streamMiniblocks(newStreamId(), from, to, options))
    ),
  );
}

function rangeFaults(
  call: (
    storage: StreamStorage,
    from: bigint,
    to: bigint,
    options?: { omitSnapshot: boolean },
  ) => Promise<unknown>,
): FaultyCall[] {
  return [
    ...faultsOf(
      "fromInclusive",
      BAD_NUMBERS,
      (storage, from) => call(storage, from, 5n),
    ),
    ...faultsOf(
      "toExclusive",
      BAD_NUMBERS,
      (storage, to) => call(storage, 0n, to),
    ),
    {
      fault: "from > to",
      argument: "toExclusive",
      reason: "range_reversed",
      call: (storage) => call(storage, 2n, 1n),
    },
    {
      fault: "omitSnapshot is not a boolean",
      argument: "options.omitSnapshot",
      call: (storage) =>
        call(storage, 0n, 1n, { omitSnapshot: "yes" as unknown as boolean }),
    },
  ];
}

/** A range's result: numbers and terminus, or the gap at which it fails. */
type RangeResult =
  | { numbers: bigint[]; terminus: boolean }
  | { expected: bigint; actual: bigint };

const T = true;
const F = false;
const NONE: bigint[] = [];
const GAPPED = [...run(0, 2), ...run(10, 15)];

/** The ranges of the contract's table, and neighbouring ones. */
const RANGES: [stored: bigint[], from: bigint, to: bigint, RangeResult][] = [
  [run(0, 4), 0n, 5n, { numbers: run(0, 4), terminus: T }],
  [run(0, 4), 2n, 4n, { numbers: run(2, 3), terminus: F }],
  [run(0, 4), 1n, 5n, { numbers: run(1, 4), terminus: F }],
  [run(0, 4), 0n, 0n, { numbers: NONE, terminus: T }],
  [run(0, 4), 3n, 3n, { numbers: NONE, terminus: F }],
  [run(0, 4), 4n, MAX_NUMBER, { numbers: [4n], terminus: F }],
  [run(0, 4), MAX_NUMBER, MAX_NUMBER, { numbers: NONE, terminus: T }],
  [run(0, 2), 10n, 20n, { numbers: NONE, terminus: T }],
  [run(0, 2), 3n, 9n, { numbers: NONE, terminus: F }],
  [run(2, 5), 0n, 6n, { numbers: run(2, 5), terminus: T }],
  [run(2, 5), 2n, 6n, { numbers: run(2, 5), terminus: T }],
  [run(2, 5), 3n, 5n, { numbers: run(3, 4), terminus: F }],
  [run(2, 5), 1n, 4n, { numbers: run(2, 3), terminus: T }],
  [run(2, 5), 0n, 2n, { numbers: NONE, terminus: T }],
  [run(100, 102), 0n, 50n, { numbers: NONE, terminus: T }],
  [run(100, 102), 100n, 103n, { numbers: run(100, 102), terminus: T }],
  [run(100, 102), 101n, 103n, { numbers: run(101, 102), terminus: F }],
  [GAPPED, 0n, 3n, { numbers: run(0, 2), terminus: T }],
  [GAPPED, 0n, 10n, { numbers: run(0, 2), terminus: T }],
  [GAPPED, 10n, 16n, { numbers: run(10, 15), terminus: T }],
  [GAPPED, 11n, 16n, { numbers: run(11, 15), terminus: F }],
  [GAPPED, 0n, 16n, { expected: 3n, actual: 10n }],
  [GAPPED, 2n, 11n, { expected: 3n, actual: 10n }],
  [GAPPED, 3n, 16n, { expected: 3n, actual: 10n }],
  [GAPPED, 4n, 16n, { expected: 4n, actual: 10n }],
  [GAPPED, 9n, 11n, { expected: 9n, actual: 10n }],
  [GAPPED, 3n, 10n, { numbers: NONE, terminus: F }],
  [[3n, ...run(10, 12)], 4n, 13n, { expected: 4n, actual: 10n }],
  [[3n, ...run(10, 12)], 5n, 11n, { expected: 5n, actual: 10n }],
  [GAPPED, 5n, 9n, { numbers: NONE, terminus: T }],
  [[], 0n, 5n, { numbers: NONE, terminus: T }],
  [[], 3n, 5n, { numbers: NONE, terminus: T }],
  [
    run(MAX_NUMBER - 3n, MAX_NUMBER - 1n),
    MAX_NUMBER - 2n,
    MAX_NUMBER,
    { numbers: run(MAX_NUMBER - 2n, MAX_NUMBER - 1n), terminus: F },
  ],
];

function testRanges(suite: Suite): void {
  for (const [stored, from, to, result] of RANGES) {
    const title = `(${from}, ${to}) of ${describeNumbers(stored)}`;
    suite.planted(
      `readMiniblocks and streamMiniblocks ${title}`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, plantedStream(stored));
        const read = storage.readMiniblocks(id, from, to);
        const streamed = collect(storage.streamMiniblocks(id, from, to));
        if ("numbers" in result) {
          const miniblocks = result.numbers.map((number) => block(number));
          const { terminus } = result;
          assert.deepEqual(await read, { miniblocks, terminus });
          assert.deepEqual(await streamed, miniblocks);
          return;
        }
        const gap: ExpectedError = {
          code: "MINIBLOCKS_NOT_FOUND",
          reason: "miniblock_gap",
          details: { ...result },
        };
        await Promise.all([
          assertFails(streamed, { ...gap, operation: "streamMiniblocks" }),
          assertFails(read, { ...gap, operation: "readMiniblocks" }),
        ]);
      },
    );
  }
}

function describeNumbers(numbers: bigint[]): string {
  return numbers.length === 0
    ? "nothing"
    : `${numbers.length} blocks ${numbers[0]}..${numbers.at(-1)}`;
}

function testSnapshots(suite: Suite): void {
  const stored = [
    snapshotBlock(0),
    { ...block(1), snapshot: new Uint8Array() },
    { ...block(2), snapshot: null },
    legacyBlock(3),
    snapshotBlock(4),
  ];
  const rows: PlantedStream = { ...plantedStream(run(0, 4)), blocks: stored };
  const withSnapshots = [
    snapshotBlock(0),
    block(1),
    block(2),
    readBack(legacyBlock(3)),
    snapshotBlock(4),
  ];

  suite.planted(
    "reads leave out empty snapshots, and all snapshots on request",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, rows);
      const options = { omitSnapshot: true };
      const omitted = withSnapshots.map(({ number, data }) => ({
        number,
        data,
      }));
      const cases: [MiniblockDescriptor[], { omitSnapshot: boolean }][] = [
        [withSnapshots, { omitSnapshot: false }],
        [omitted, options],
      ];
      for (const [expected, how] of cases) {
        const read = await storage.readMiniblocks(id, 0n, 5n, how);
        assert.deepEqual(read.miniblocks, expected);
        const streamed = storage.streamMiniblocks(id, 0n, 5n, how);
        assert.deepEqual(await collect(streamed), expected);
      }
    },
  );
}

function testStreaming(suite: Suite): void {
  suite.planted(
    "streamMiniblocks yields many blocks in order",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream(run(5, 2500)));
      const all = await collect(storage.streamMiniblocks(id, 0n, 3000n));
      assert.deepEqual(all.map(({ number }) => number), run(5, 2500));
    },
  );

  suite.planted(
    "streamMiniblocks finds a gap wherever its pages end",
    async ({ storage, plant }) => {
      for (const end of [10n, 16n, 64n, 100n, 256n, 1022n, 1023n, 1024n]) {
        const id = newStreamId();
        await plant(id, plantedStream([...run(1, end), end + 2n]));
        await assertFails(collect(storage.streamMiniblocks(id, 0n, 9999n)), {
          code: "MINIBLOCKS_NOT_FOUND",
          details: { expected: end + 1n, actual: end + 2n },
        });
      }
    },
  );

  suite.planted(
    "streamMiniblocks yields at most the blocks before a late gap",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream([...run(0, 299), ...run(310, 320)]));
      const numbers: bigint[] = [];
      const reading = (async () => {
        for await (const { number } of storage.streamMiniblocks(id, 0n, 400n)) {
          numbers.push(number);
        }
      })();
      await assertFails(reading, {
        code: "MINIBLOCKS_NOT_FOUND",
        reason: "miniblock_gap",
        details: { expected: 300n, actual: 310n },
      });
      assert.deepEqual(numbers, run(0, numbers.length - 1));
      assert.ok(numbers.length <= 300, `Got ${numbers.length} blocks`);
    },
  );
}

function testLeavingStream(suite: Suite): void {
  suite.planted(
    "streamMiniblocks can be left or aborted halfway",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream(run(0, 9)));
      for await (const { number } of storage.streamMiniblocks(id, 0n, 10n)) {
        if (number === 3n) break;
      }
      const controller = new AbortController();
      const reason = new Error("enough");
      const options = { signal: controller.signal };
      const numbers: bigint[] = [];
      const reading = (async () => {
        const blocks = storage.streamMiniblocks(id, 0n, 10n, options);
        for await (const { number } of blocks) {
          numbers.push(number);
          if (number === 3n) controller.abort(reason);
        }
      })();
      await assert.rejects(reading, (error) => {
        assertStorageError(error, {
          code: "CANCELED",
          operation: "streamMiniblocks",
        });
        assert.equal((error as Error).cause, reason);
        return true;
      });
      assert.deepEqual(numbers, run(0, 3));
    },
  );
}

function testLastNumber(suite: Suite): void {
  const empty = { number: 0n, data: new Uint8Array() };
  const cases: [string, PlantedStream, bigint | ExpectedError][] = [
    ["a run", plantedStream(run(0, 4)), 4n],
    ["a gap", plantedStream(GAPPED), 15n],
    ["a start above 0", plantedStream(run(100, 102)), 102n],
    ["a large number", plantedStream([MAX_NUMBER - 1n]), MAX_NUMBER - 1n],
    ["no blocks", plantedStream([], { events: "no rows" }), {
      code: "NOT_FOUND",
      reason: "no_miniblocks",
      operation: "getLastMiniblockNumber",
    }],
    ["an empty genesis", { ...plantedStream([0n]), blocks: [empty] }, {
      code: "NOT_FOUND",
      reason: "corrupt_stream",
      operation: "getLastMiniblockNumber",
    }],
    ["an empty last block", {
      ...plantedStream(run(0, 1)),
      blocks: [block(0), { number: 1n, data: new Uint8Array() }],
    }, 1n],
    ["an empty genesis and more", {
      ...plantedStream(run(0, 1)),
      blocks: [empty, block(1)],
    }, 1n],
  ];
  for (const [name, rows, expected] of cases) {
    suite.planted(
      `getLastMiniblockNumber of a stream with ${name}`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, rows);
        if (typeof expected === "bigint") {
          assert.equal(await storage.getLastMiniblockNumber(id), expected);
        } else {
          await assertFails(storage.getLastMiniblockNumber(id), expected);
        }
      },
    );
  }
}
