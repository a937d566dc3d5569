/**
 * Pure rules on numbers of blocks and snapshots, with examples and properties.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type {
  MiniblockDescriptor,
  MiniblockRange,
} from "../../src/storage/model.ts";
import {
  assembleMiniblocks,
  closestSnapshotMiniblock,
  lastRun,
  miniblockIdsToRanges,
  snapshotsToNullify,
} from "../../src/storage/rules.ts";

const number = fc.bigInt({ min: 0n, max: 400n });
const ascending = fc.uniqueArray(number, { maxLength: 60 })
  .map((numbers) => numbers.sort((a, b) => Number(a - b)));

function range(
  startInclusive: bigint,
  endInclusive: bigint,
  snapshotSeqNums: bigint[] = [],
): MiniblockRange {
  return { startInclusive, endInclusive, snapshotSeqNums };
}

function rowsOf(numbers: bigint[]): MiniblockDescriptor[] {
  return numbers.map((number) => ({ number, data: new Uint8Array([1]) }));
}

describe("snapshotsToNullify", () => {
  const cases: [string, Parameters<typeof snapshotsToNullify>, bigint[]][] = [
    ["keeps the first of each bucket", [
      0n,
      1000n,
      [0n, 40n, 90n, 100n, 150n, 310n],
      100n,
      100n,
    ], [40n, 90n, 150n]],
    ["keeps one of two snapshots, too", [0n, 999n, [0n, 1n], 100n, 0n], [1n]],
    ["keeps all for interval 0", [0n, 1000n, [0n, 1n, 2n], 0n, 0n], []],
    ["keeps all for a negative interval", [0n, 9n, [0n, 1n, 2n], -1n, 0n], []],
    ["keeps a single snapshot", [0n, 1000n, [5n], 100n, 100n], []],
    ["keeps all for a reversed range", [9n, 8n, [0n, 1n, 2n], 100n, 0n], []],
    ["skips those before the range", [50n, 999n, [10n, 60n, 70n], 100n, 0n], [
      70n,
    ]],
    ["accepts a range of one block", [5n, 5n, [4n, 5n], 100n, 0n], []],
    [
      "keeps those of the newest blocks",
      [0n, 200n, [0n, 50n, 100n, 101n], 200n, 100n],
      [
        50n,
        100n,
      ],
    ],
    ["keeps all if the range is shorter than the newest blocks", [
      0n,
      90n,
      [0n, 50n, 60n],
      100n,
      100n,
    ], []],
  ];
  for (const [name, args, expected] of cases) {
    it(name, () => assert.deepEqual(snapshotsToNullify(...args), expected));
  }

  it("leaves one snapshot in every bucket that had one", () => {
    fc.assert(fc.property(
      ascending,
      number,
      fc.bigInt({ min: 1n, max: 150n }),
      fc.bigInt({ min: 0n, max: 150n }),
      (snapshots, start, interval, keep) => {
        const end = 400n;
        const nullified = snapshotsToNullify(
          start,
          end,
          snapshots,
          interval,
          keep,
        );
        const kept = snapshots.filter((n) => !nullified.includes(n));
        const eligible = (n: bigint) => n >= start && n <= end - keep;
        assert.ok(nullified.every((n) => snapshots.includes(n) && eligible(n)));
        for (const n of snapshots.filter(eligible)) {
          const bucket = kept.filter((k) =>
            eligible(k) && k / interval === n / interval
          );
          assert.equal(bucket.length, 1);
          assert.ok(bucket[0] !== undefined && bucket[0] <= n);
        }
      },
    ));
  });
});

describe("closestSnapshotMiniblock", () => {
  const ranges = [range(0n, 9n, [0n, 5n]), range(20n, 30n, [22n, 30n])];
  const cases: [bigint, bigint | undefined][] = [
    [0n, 0n],
    [4n, 0n],
    [5n, 5n],
    [21n, 5n],
    [22n, 22n],
    [29n, 22n],
    [99n, 30n],
    [-1n, undefined],
  ];
  for (const [at, expected] of cases) {
    it(`is ${expected} at ${at}`, () => {
      assert.equal(closestSnapshotMiniblock(ranges, at), expected);
    });
  }

  it("is undefined without snapshots", () => {
    assert.equal(closestSnapshotMiniblock([], 5n), undefined);
    assert.equal(closestSnapshotMiniblock([range(0n, 9n)], 5n), undefined);
  });
});

describe("miniblockIdsToRanges", () => {
  it("sorts, removes duplicates and splits", () => {
    const ids = [7n, 3n, 1n, 2n, 3n, 8n, 20n];
    assert.deepEqual(miniblockIdsToRanges(ids, 0), [
      range(1n, 3n),
      range(7n, 8n),
      range(20n, 20n),
    ]);
    assert.deepEqual(miniblockIdsToRanges(ids, 2), [
      range(1n, 2n),
      range(3n, 3n),
      range(7n, 8n),
      range(20n, 20n),
    ]);
    assert.deepEqual(miniblockIdsToRanges([], 5), []);
    assert.deepEqual(ids, [7n, 3n, 1n, 2n, 3n, 8n, 20n]);
  });

  it("works at the largest numbers", () => {
    const max = 2n ** 63n - 1n;
    assert.deepEqual(miniblockIdsToRanges([max, max - 1n], 0), [
      range(max - 1n, max),
    ]);
  });

  it("refuses a bad limit", () => {
    for (const limit of [-1, 0.5, NaN, 1n as unknown as number]) {
      assert.throws(
        () => miniblockIdsToRanges([1n], limit),
        (error) => isStreamStorageError(error, "INVALID_ARGUMENT"),
      );
    }
  });

  it("returns maximal runs that cover exactly the ids", () => {
    fc.assert(fc.property(
      fc.array(number),
      fc.nat(9),
      (ids, limit) => {
        const ranges = miniblockIdsToRanges(ids, limit);
        const covered = ranges.flatMap((r) => {
          const numbers: bigint[] = [];
          for (let n = r.startInclusive; n <= r.endInclusive; n++) {
            numbers.push(n);
          }
          if (limit > 0) assert.ok(numbers.length <= limit);
          return numbers;
        });
        const expected = [...new Set(ids)].sort((a, b) => Number(a - b));
        assert.deepEqual(covered, expected);
        ranges.slice(1).forEach((r, index) => {
          const before = ranges[index];
          assert.ok(before);
          const length = before.endInclusive - before.startInclusive + 1n;
          const touching = before.endInclusive + 1n === r.startInclusive;
          assert.ok(!touching || length === BigInt(limit));
        });
      },
    ));
  });
});

describe("lastRun", () => {
  it("is the longest continuous tail", () => {
    fc.assert(fc.property(ascending, (numbers) => {
      const run = lastRun(rowsOf(numbers)).map((row) => row.number);
      assert.deepEqual(run, numbers.slice(numbers.length - run.length));
      assert.equal(run.length === 0, numbers.length === 0);
      run.slice(1).forEach((n, index) => {
        assert.equal(n - 1n, run[index]);
      });
      const before = numbers.at(-run.length - 1);
      const first = run[0];
      if (run.length < numbers.length && first !== undefined) {
        assert.notEqual(before, first - 1n);
      }
    }));
  });
});

describe("assembleMiniblocks", () => {
  it("keeps snapshots, but leaves out empty ones", () => {
    const context = { from: 0n, hasBlockBefore: false, hasBlockBelow: false };
    const row = { number: 0n, data: new Uint8Array([1]) };
    const rows = [{ ...row, snapshot: new Uint8Array([2]) }];
    assert.deepEqual(assembleMiniblocks("s", rows, context).miniblocks, rows);
    for (const snapshot of [new Uint8Array(), null, undefined]) {
      const { miniblocks } = assembleMiniblocks(
        "s",
        [{ ...row, snapshot }],
        context,
      );
      assert.deepEqual(miniblocks, [row]);
    }
  });

  it("returns the same blocks in pages as at once", () => {
    fc.assert(fc.property(
      ascending,
      number,
      number,
      fc.integer({ min: 1, max: 7 }),
      (stored, a, b, pageSize) => {
        const [from, to] = a < b ? [a, b] : [b, a];
        const rows = rowsOf(stored.filter((n) => n >= from && n < to));
        const context = {
          from,
          hasBlockBefore: stored.includes(from - 1n),
          hasBlockBelow: stored.some((n) => n < from),
        };
        const whole = attempt(() => assembleMiniblocks("s", rows, context));
        const paged = attempt(() => {
          const { terminus } = assembleMiniblocks(
            "s",
            rows.slice(0, pageSize),
            context,
          );
          const miniblocks = rows.slice(0, pageSize);
          for (let at = pageSize; at < rows.length; at += pageSize) {
            const next = (miniblocks.at(-1)?.number ?? 0n) + 1n;
            miniblocks.push(
              ...assembleMiniblocks("s", rows.slice(at, at + pageSize), {
                from: next,
                hasBlockBefore: true,
                hasBlockBelow: true,
              }).miniblocks,
            );
          }
          return { miniblocks, terminus };
        });
        assert.deepEqual(paged, whole);
      },
    ));
  });
});

/** The result of the call, or the code and details of its error. */
function attempt(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    if (!isStreamStorageError(error)) throw error;
    return { code: error.code, details: error.details };
  }
}
