/** The description of a fleet, from a file or standard input. */

import { Buffer } from "node:buffer";
import { createReadStream } from "node:fs";
import process from "node:process";
import { quoted } from "../../storage/foreign_text.ts";
import { UsageError } from "../usage_errors.ts";

/** No description is longer. */
const maxBytes = 1024 * 1024;

/**
 * The JSON that is there; what it says is not checked yet.
 *
 * @throws {UsageError} it can't be read, or is no JSON.
 */
export async function readDescription(path: string): Promise<unknown> {
  const name = path === "-" ? "standard input" : `file ${quoted(path, 200)}`;
  const source = path === "-" ? process.stdin : createReadStream(path);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of source as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > maxBytes) break;
      chunks.push(chunk);
    }
  } catch (error) {
    const { code } = error as { code?: string };
    throw new UsageError(`Expected a description in ${name}: ${code}`);
  }
  if (bytes > maxBytes) {
    throw new UsageError(
      `Expected at most ${maxBytes} B in ${name}, found more`,
    );
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    // The parser's own words would show a piece of it.
    throw new UsageError(`Expected JSON in ${name}, found something else`);
  }
}
