/**
 * The memory of blocks that were searched for a snapshot in their data: what it
 * keeps, when it forgets, and how much room it takes.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LegacySnapshots } from "../../src/postgres/legacy_snapshots.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";

/** Records that these blocks were searched, and which hold a snapshot. */
function learn(
  snapshots: LegacySnapshots,
  id: StreamId,
  numbers: bigint[],
  holding: bigint[] = [],
): void {
  const blocks = snapshots.open(id);
  for (const number of numbers) {
    snapshots.learn(blocks, number, holding.includes(number));
  }
  snapshots.close(id, blocks);
}

/** What is known about these blocks. */
function known(
  snapshots: LegacySnapshots,
  id: StreamId,
  numbers: bigint[],
): (boolean | undefined)[] {
  const blocks = snapshots.open(id);
  const found = numbers.map((number) => blocks.get(number));
  snapshots.close(id, blocks);
  return found;
}

const greatest = 2n ** 63n - 1n;
const unknown = undefined;

describe("The memory of legacy snapshots", () => {
  it("remembers each block separately", () => {
    const snapshots = new LegacySnapshots();
    const id = newStreamId();
    const numbers = [0n, 1n, 15n, 16n, 31n, 40n, greatest - 1n, greatest];
    learn(snapshots, id, numbers, [1n, 15n, 31n, greatest]);
    assert.deepEqual(
      known(snapshots, id, [...numbers, 2n, 14n, 17n, 30n, 32n]),
      [
        ...[false, true, true, false, true, false, false, true],
        ...[unknown, unknown, unknown, unknown, unknown],
      ],
    );
    assert.deepEqual(known(snapshots, newStreamId(), [1n]), [unknown]);
  });

  it("can forget a stream, or its blocks below a number", () => {
    const snapshots = new LegacySnapshots();
    const [id, other] = [newStreamId(), newStreamId()];
    const numbers = [3n, 16n, 20n, 21n, 31n, 32n];
    for (const each of [id, other]) learn(snapshots, each, numbers, [16n, 21n]);
    snapshots.forget(id, 21n);
    assert.deepEqual(
      known(snapshots, id, numbers),
      [unknown, unknown, unknown, true, false, false],
    );
    snapshots.forget(id, 32n);
    assert.deepEqual(known(snapshots, id, [31n, 32n]), [unknown, false]);
    snapshots.forget(id);
    assert.deepEqual(known(snapshots, id, [32n]), [unknown]);
    assert.deepEqual(
      known(snapshots, other, numbers),
      [false, true, false, true, false, false],
    );
  });

  it("reports to open reads that blocks were removed, and learns nothing from them", () => {
    for (const below of [undefined, 0n, 5n]) {
      const snapshots = new LegacySnapshots();
      const id = newStreamId();
      const blocks = snapshots.open(id);
      assert.equal(blocks.outdated, false);
      snapshots.forget(newStreamId());
      assert.equal(blocks.outdated, false);
      snapshots.forget(id, below);
      assert.equal(blocks.outdated, true);
      snapshots.learn(blocks, 7n, true);
      assert.deepEqual(known(snapshots, id, [7n]), [unknown]);
      snapshots.close(id, blocks);
      learn(snapshots, id, [7n]);
      assert.deepEqual(known(snapshots, id, [7n]), [false]);
    }
  });

  it("first forgets the stream that was used least recently", () => {
    const snapshots = new LegacySnapshots(6);
    const [a, b, c, d] = [1, 2, 3, 4].map(() => newStreamId()) as [
      StreamId,
      StreamId,
      StreamId,
      StreamId,
    ];
    for (const each of [a, b, c]) learn(snapshots, each, [1n]);
    assert.deepEqual(known(snapshots, a, [1n]), [false]);
    learn(snapshots, d, [1n]);
    assert.deepEqual(
      [a, c, d].map((id) => known(snapshots, id, [1n])),
      [[false], [false], [false]],
    );
    assert.deepEqual(known(snapshots, b, [1n]), [unknown]);
  });

  it("keeps a stream while it is read, and stays within its bound", () => {
    const snapshots = new LegacySnapshots(6);
    const [id, other] = [newStreamId(), newStreamId()];
    const blocks = snapshots.open(id);
    const numbers = [0n, 16n, 32n, 48n, 64n, 80n, 96n];
    for (const number of numbers) snapshots.learn(blocks, number, true);
    learn(snapshots, other, [0n]);
    const expected = numbers.map((number) => number < 80n ? true : unknown);
    assert.deepEqual(known(snapshots, id, numbers), expected);
    assert.deepEqual(known(snapshots, other, [0n]), [unknown]);
    snapshots.close(id, blocks);
    learn(snapshots, other, [0n]);
    assert.deepEqual(known(snapshots, other, [0n]), [false]);
    assert.deepEqual(known(snapshots, id, [0n]), [unknown]);
  });

  it("spends nothing on streams without searched blocks", () => {
    const snapshots = new LegacySnapshots(3);
    const id = newStreamId();
    learn(snapshots, id, [1n, 17n]);
    for (let n = 0; n < 100; n++) learn(snapshots, newStreamId(), []);
    assert.deepEqual(known(snapshots, id, [1n, 17n]), [false, false]);
  });
});
