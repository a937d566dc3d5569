/** The checks from which the checks of options are composed: what each refuses. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  also,
  type Check,
  type Fault,
  flag,
  int,
  list,
  object,
  oneOf,
  optional,
  Place,
  record,
  text,
  textThat,
  uint63,
  withDefault,
} from "../../src/postgres/checks.ts";

function run<T>(check: Check<T>, value: unknown): { checked: T; at: string[] } {
  const faults: Fault[] = [];
  const checked = check(value, new Place([], faults));
  return { checked, at: faults.map(({ option }) => option) };
}

function passes(check: Check<unknown>, ...values: unknown[]): void {
  for (const value of values) {
    assert.deepEqual(run(check, value), { checked: value, at: [] });
  }
}

function refuses(check: Check<unknown>, ...values: unknown[]): void {
  for (const value of values) {
    assert.deepEqual(run(check, value).at, ["options"], String(value));
  }
}

const hostile = [undefined, null, NaN, Infinity, -1, 0.5, {}, [], () => 1, "x"];

describe("A check", () => {
  it("of numbers accepts integers within bounds, both included", () => {
    passes(int(2, 5), 2, 5);
    refuses(int(2, 5), ...hostile, 1, 6, 3n, "3", new Number(3));
    refuses(int(0, Infinity), 2 ** 53);
    passes(uint63, 0n, 2n ** 63n - 1n);
    refuses(uint63, ...hostile, 2n ** 63n, 1);
  });

  it("of texts and words accepts nothing that only looks like one", () => {
    passes(text(1, 3), "a", "abc");
    refuses(text(1, 3), "", "abcd", 1, null, undefined, new String("a"), ["a"]);
    passes(oneOf("one", "two"), "one", "two");
    refuses(oneOf("one", "two"), "three", "", undefined, null, 1, ["one"]);
    passes(textThat((value) => value.endsWith("!"), "must shout"), "a!");
    refuses(textThat(() => true, "must be a text"), 1, null, undefined);
    refuses(flag, 0, 1, "true", null, undefined);
  });

  it("replaces a missing value with its default, and still checks a given one", () => {
    const check = withDefault(int(1, 9), 7);
    assert.deepEqual(run(check, undefined), { checked: 7, at: [] });
    refuses(check, null, 0, "7");
    passes(optional(flag), undefined, true);
    refuses(optional(flag), null);
    const retry = withDefault(object({ attempts: check }), {});
    assert.deepEqual(run(retry, undefined).checked, { attempts: 7 });
  });

  it("of an object refuses every other name, even __proto__", () => {
    const check = object({ a: int(0, 9), b: optional(text()) });
    assert.deepEqual(run(check, { a: 1, b: undefined }).checked, { a: 1 });
    const others = JSON.parse('{"a":1,"__proto__":2,"constructor":3}');
    assert.deepEqual(run(check, others).at, ["__proto__, constructor"]);
    assert.deepEqual(run(check, { a: "1", c: 2 }).at, ["c", "a"]);
    for (const value of [null, undefined, [], 1, "a", () => {}]) {
      assert.deepEqual(run(check, value).at, ["options"]);
    }
  });

  it("reports all faults, each with its place", () => {
    const check = object({
      by: record(["x", "y"], uint63),
      all: list(object({ n: int(0, 1) }), 2),
    });
    assert.deepEqual(
      run(check, { by: { x: 1, y: 2n, z: 3 }, all: [{ n: 0 }, { n: 2 }] }).at,
      ["by", "by.x", "all.1.n"],
    );
    assert.deepEqual(run(check, { by: [], all: [1, 2, 3] }).at, ["by", "all"]);
    const good = { by: { y: 2n }, all: [{ n: 1 }] };
    assert.deepEqual(run(check, good), { checked: good, at: [] });
  });

  it("shows only the start of an unknown name, and no value", () => {
    const secret = "hunter2-".repeat(9);
    const faults: Fault[] = [];
    object({ a: text() })(
      { a: 5, [secret]: secret },
      new Place(["retry"], faults),
    );
    assert.equal(faults.length, 2);
    assert.ok(!JSON.stringify(faults).includes(secret.slice(0, 20)));
  });

  it("runs the next check only on a value that has passed", () => {
    const even = also(int(0, 9), (value, place) => {
      if (value % 2 === 1) place.refuse("must be even");
      return value / 2;
    });
    assert.deepEqual(run(even, 8), { checked: 4, at: [] });
    refuses(even, 3, "8");
  });
});
