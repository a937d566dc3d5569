/** Reads the option `mediaStorage` from a file, because it holds keys. */

import { readFile, stat } from "node:fs/promises";
import process from "node:process";
import type { MediaStorageOptions } from "../postgres/media_options.ts";
import { quoted } from "../storage/foreign_text.ts";
import { UsageError } from "./usage_errors.ts";

/** No file with this option is longer. */
const maxBytes = 1024 * 1024;

/**
 * Reads the option. If the file has no keys of S3, they come from the
 * environment variables of AWS's own tools.
 *
 * @throws {UsageError} what is wrong with the file; the error shows no part of
 *   it.
 */
export async function readMediaOption(
  path: string,
): Promise<MediaStorageOptions> {
  const name = `File ${quoted(path, 200)}`;
  let text: string;
  try {
    const about = await stat(path);
    if (about.size > maxBytes) {
      throw new UsageError(
        `${name} is too long: expected at most ${maxBytes} B`,
      );
    }
    const isOpen = about.isFile() && (about.mode & 0o077) !== 0;
    if (isOpen && process.platform !== "win32") {
      throw new UsageError(`${name} can be used by others: chmod 600 it`);
    }
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code } = error as { code?: string };
    throw new UsageError(`${name} can't be read: ${code}`);
  }
  const option = parsed(text);
  if (option === undefined) {
    throw new UsageError(
      `${name}: expected the option mediaStorage as JSON, found something else`,
    );
  }
  return withEnvironment(option);
}

function parsed(text: string): MediaStorageOptions | undefined {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    // The parser's own message would show a part of the text.
    return undefined;
  }
}

function withEnvironment(option: MediaStorageOptions): MediaStorageOptions {
  const { env } = process;
  if (option.provider !== "s3" || option.accessKeyId !== undefined) {
    return option;
  }
  const keys = {
    accessKeyId: env.AWS_ACCESS_KEY_ID,
    secretAccessKey: env.AWS_SECRET_ACCESS_KEY,
    sessionToken: env.AWS_SESSION_TOKEN,
  };
  const given = Object.entries(keys).filter(([, value]) => value);
  return { ...option, ...Object.fromEntries(given) };
}
