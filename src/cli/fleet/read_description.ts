/** Reads the description of a fleet from a file or standard input. */

import { Buffer } from "node:buffer";
import { createReadStream } from "node:fs";
import process from "node:process";
import { quoted } from "../../storage/foreign_text.ts";
import { UsageError } from "../usage_errors.ts";

/** No description is longer. */
const maxBytes = 1024 * 1024;

/**
 * Returns the JSON without checking its contents.
 *
 * @throws {UsageError} the file can't be read, or is not JSON.
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
    // The parser's own message would show a part of the text.
    throw new UsageError(`Expected JSON in ${name}, found something else`);
  }
}
