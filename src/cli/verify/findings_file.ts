/** Reads findings that an earlier `verify --json` has printed into a file. */

import { readFile, stat } from "node:fs/promises";
import { parseFindings } from "../../operator/verify/acknowledged.ts";
import type { Finding } from "../../operator/verify/findings.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { UsageError } from "../usage_errors.ts";

/** Enough for some hundred thousand findings. */
const maxBytes = 128 * 1024 * 1024;

/**
 * Reads the findings of a file.
 *
 * @throws {UsageError} the file can't be read, or is too long.
 * @throws {StreamStorageError} a line of the file is not a finding.
 */
export async function readFindings(path: string): Promise<Finding[]> {
  const name = `File ${quoted(path, 200)}`;
  const text = await read(path).catch((error) => {
    throw new UsageError(`${name} can't be read: ${error.code ?? error}`);
  });
  if (text !== undefined) return parseFindings(text);
  throw new UsageError(`${name} is too long: expected at most ${maxBytes} B`);
}

async function read(path: string): Promise<string | undefined> {
  const { size } = await stat(path);
  return size > maxBytes ? undefined : await readFile(path, "utf8");
}
