import assert from "node:assert/strict";
import { describe, it } from "node:test";
import sizes from "../../scripts/lint/sizes.ts";

const lines = (count: number, line: string) =>
  Array.from({ length: count }, () => `${line}\n`).join("");

const found = (text: string, file = "src/a.ts") =>
  Deno.lint.runPlugin(sizes, file, text).map(({ id, message }) =>
    `${id}: ${message}`
  );

/** A function of so many lines. */
const long = (count: number, head = "function f() {", line = "  g();") =>
  `${head}\n${lines(count - 2, line)}}\n`;

// Only Deno runs the rules of its lint.
const skip = !("Deno" in globalThis);

describe("The lint of sizes", { skip }, () => {
  it("finds functions, methods and named arrows of more than 50 lines", () => {
    const message = "sizes/function: Expected at most 50 lines, found 51";
    assert.deepEqual(found(long(50)), []);
    assert.deepEqual(found(long(51)), [message]);
    assert.deepEqual(found(`class A {\n${long(51, "m() {")}}\n`), [message]);
    assert.deepEqual(found(long(51, "const f = () => {")), [message]);
  });

  it("lets functions that define tests be longer", () => {
    assert.deepEqual(found(long(90, "function f(suite: Suite) {")), []);
    assert.deepEqual(found(long(90, "function f() {", "  it('is', g);")), []);
    assert.deepEqual(found(long(90), "tests/a_test.ts"), []);
  });

  it("finds files of more than 400 lines whose head gives no reason", () => {
    const head = "/** Has more than 400 lines,\n * because it is a list. */\n";
    assert.deepEqual(found(lines(400, "g();")), []);
    assert.equal(found(lines(401, "g();")).length, 1);
    assert.deepEqual(found(head + lines(401, "g();")), []);
    assert.equal(found(lines(401, "g();") + head).length, 1);
  });
});
