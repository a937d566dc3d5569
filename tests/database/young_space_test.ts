/** Reading large arrays makes V8 collect young objects; see young_space.ts. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const program = fileURLToPath(
  new URL("../support/programs/read_large_rows.ts", import.meta.url),
);

describe("Large arrays", () => {
  it("are collected by V8 as young objects", {
    skip: "Deno" in globalThis ? false : "only V8 prints its collections so",
  }, async () => {
    const flags = ["--no-check", "--v8-flags=--trace-gc"];
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["run", ...flags, program],
    );
    const collections = stdout.match(/: Scavenge /g) ?? [];
    // By itself, V8 collects them 5 to 9 times.
    assert.ok(collections.length >= 18, `${collections.length}`);
  });
});
