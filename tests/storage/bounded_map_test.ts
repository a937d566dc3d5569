/** A map of bounded size, which forgets old keys that are not read. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BoundedMap } from "../../src/postgres/bounded_map.ts";

describe("A bounded map", () => {
  /**
   * The keys that are held after 0, 1, 2 and so on were set. Each key is read
   * from a new map, because a read keeps the key.
   */
  const heldAfter = (max: number, size: number) =>
    Array.from({ length: size }, (_, key) => key).filter((key) => {
      const map = new BoundedMap<number, string>(max);
      for (let key = 0; key < size; key++) map.set(key, "value");
      return map.get(key) !== undefined;
    });

  it("returns the value that was set last", () => {
    const map = new BoundedMap<number, string>(4);
    for (const value of ["a", "b", "c", "d", "e"]) {
      map.set(1, value);
      assert.equal(map.get(1), value);
      map.set(2, value);
    }
    assert.equal(map.get(3), undefined);
  });

  for (const max of [2, 3, 10, 50]) {
    it(`holds at most ${max} keys, and at least the newest half of them`, () => {
      for (let size = 1; size <= 4 * max; size++) {
        const held = heldAfter(max, size);
        assert.ok(held.length <= max);
        const newest = Math.min(size, Math.floor(max / 2));
        assert.deepEqual(
          held.slice(-newest),
          Array.from({ length: newest }, (_, i) => size - newest + i),
        );
      }
    });
  }

  it("keeps the keys that are read", () => {
    const map = new BoundedMap<number, string>(100);
    map.set(-1, "read");
    for (let key = 0; key < 1000; key++) {
      map.set(key, "value");
      if (key % 40 === 0) assert.equal(map.get(-1), "read");
    }
    assert.equal(map.get(-1), "read");
    assert.equal(map.get(0), undefined);
  });

  it("forgets deleted keys, new or old", () => {
    const map = new BoundedMap<number, string>(10);
    for (let key = 0; key < 7; key++) map.set(key, "value");
    // If only the newer value was deleted, the older one would come back.
    map.set(1, "newer");
    for (const key of [1, 6]) {
      map.delete(key);
      assert.equal(map.get(key), undefined);
    }
    assert.equal(map.get(5), "value");
  });
});
