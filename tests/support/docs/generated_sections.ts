/**
 * Sections of a document that are generated from the code. They stand between
 * `<!-- generated: NAME -->` and `<!-- end -->`.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { readDocument } from "./documents.ts";
import { root } from "../root.ts";

/** An entry of a generated list. */
export interface Entry {
  /** The entry's name, shown in code style. */
  name: string;
  /** Its kind, which follows the name. */
  kind: string;
  /** Its description, in sentences. */
  text: string;
}

/**
 * Compares a section with the list of these entries. UPDATE_GOLDEN writes the
 * section instead; read it before you commit it.
 */
export function assertGenerated(
  path: string,
  name: string,
  entries: readonly Entry[],
): void {
  const document = readDocument(path);
  const open = `<!-- generated: ${name} -->\n`;
  const from = document.indexOf(open) + open.length;
  const to = document.indexOf("<!-- end -->", from);
  assert.ok(from >= open.length && to >= from, `${path} has no "${name}"`);
  const section = listOf(entries);
  if (process.env.UPDATE_GOLDEN) {
    const text = document.slice(0, from) + section + document.slice(to);
    writeFileSync(join(root, path), text);
    return;
  }
  assert.equal(
    document.slice(from, to),
    section,
    `${path}, "${name}": run the test with UPDATE_GOLDEN=1`,
  );
}

function listOf(entries: readonly Entry[]): string {
  const items = entries.map(({ name, kind, text }) =>
    wrapped(`- \`${name}\` (${kind}): ${text}`)
  );
  return [
    "\n<!-- deno-fmt-ignore-start -->\n",
    ...items,
    "\n<!-- deno-fmt-ignore-end -->\n",
  ].join("\n") + "\n";
}

/** Wraps an item at 80 columns, with its text indented. */
function wrapped(item: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of item.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > 80) {
      lines.push(line);
      line = ` `;
    }
    line += line === "" ? word : ` ${word}`;
  }
  return [...lines, line].join("\n");
}
