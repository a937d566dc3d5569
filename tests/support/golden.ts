import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";

/** Whether the golden file exists, or is about to be written. */
export function hasGolden(name: string): boolean {
  return Boolean(process.env.UPDATE_GOLDEN) || existsSync(fileOf(name));
}

/**
 * Compares a text with the file of this name in `tests/golden`. UPDATE_GOLDEN
 * writes the file first; read it before you commit it.
 */
export async function assertGolden(name: string, text: string): Promise<void> {
  if (process.env.UPDATE_GOLDEN) await writeFile(fileOf(name), text);
  assert.equal(
    text,
    await readFile(fileOf(name), "utf8"),
    `tests/golden/${name} differs: run the test with UPDATE_GOLDEN=1, and read ` +
      "what git diff shows",
  );
}

function fileOf(name: string): URL {
  return new URL(`../golden/${name}`, import.meta.url);
}
