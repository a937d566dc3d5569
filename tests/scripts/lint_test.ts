import assert from "node:assert/strict";
import { describe, it } from "node:test";
import errorText from "../../scripts/lint/error_text.ts";
import sizes from "../../scripts/lint/sizes.ts";

const lines = (count: number, line: string) =>
  Array.from({ length: count }, () => `${line}\n`).join("");

const found = (text: string, file = "src/a.ts", plugin = sizes) =>
  Deno.lint.runPlugin(plugin, file, text).map(({ id, message }) =>
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

describe("The lint of errors' texts", { skip }, () => {
  it("finds a small letter at the start and a full stop at the end", () => {
    const faults = [
      'new StreamStorageError({ message: "no rows" });',
      "new StreamStorageError({ message: `Stream ${id} ` + 'is gone.' });",
      'fault("INTERNAL", "gone", "gone for good", {});',
    ];
    for (const text of faults) {
      assert.equal(found(text, "src/a.ts", errorText).length, 1, text);
    }
    const right = [
      "new StreamStorageError({ message: `${name} needs ` + rest });",
      'fault("INTERNAL", "gone", `Stream ${id} is gone`, {});',
      'new StreamStorageError({ message: "writeEvent: no rows" });',
    ];
    for (const text of right) {
      assert.deepEqual(found(text, "src/a.ts", errorText), [], text);
    }
  });
});
