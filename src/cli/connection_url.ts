/**
 * Reads the address of a server from a place that other users can't read. Every
 * user of the machine can see a program's arguments (`ps`), and `deno task`
 * prints them to the terminal or to the log of a build.
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  type ConnectionTarget,
  parseConnectionUrl,
} from "../database/connection_target.ts";
import { StreamStorageError } from "../storage/errors.ts";
import { quoted } from "../storage/foreign_text.ts";

/** The environment variable that may hold an address. */
export const urlVariable = "STREAM_STORAGE_URL";

/** The address as the user gave it, or its source. */
export interface UrlSource {
  url?: string | undefined;
  "url-file"?: string | undefined;
}

/** No address is longer. */
const maxBytes = 64 * 1024;

/**
 * Returns the address with its password, from the option or, if the program
 * allows it, from the environment. Undefined if there is none.
 *
 * @throws {StreamStorageError} BAD_CONFIG (`bad_url`, `bad_url_file`); the
 *   error never contains an address.
 */
export async function connectionUrl(
  { url, "url-file": file }: UrlSource,
  fromEnvironment?: string,
): Promise<string | undefined> {
  if (url !== undefined && file !== undefined) {
    throw refused("bad_url", "Expected --url or --url-file, received both");
  }
  const given = file !== undefined
    ? await readUrlFile(file)
    : url === "-"
    ? await readUrl("standard input", process.stdin)
    : url ?? fromEnvironment;
  if (given === undefined) return undefined;
  const target = parseConnectionUrl(given);
  if (target.password === "") {
    const password = process.env.PGPASSWORD || await passwordFromFile(target);
    return password ? withPassword(given, password) : given;
  }
  if (given === url) {
    console.error(
      "Warning: everybody on this machine can read a password in an argument",
    );
  }
  return given;
}

async function readUrlFile(path: string): Promise<string> {
  const why = await whyUnsafe(path);
  if (why !== undefined) {
    throw refused("bad_url_file", `File ${quoted(path, 200)} ${why}`);
  }
  return await readUrl("the file", createReadStream(path));
}

async function readUrl(
  where: string,
  source: AsyncIterable<Uint8Array>,
): Promise<string> {
  const text = (await readText(source)).trim();
  // parseConnectionUrl would report two addresses less clearly.
  if (text === "" || /\s/.test(text)) {
    throw refused(
      "bad_url",
      `Expected one address and nothing else in ${where}`,
    );
  }
  return text;
}

/**
 * Why other users could read the file, by libpq's rule for `.pgpass`. A pipe is
 * private.
 */
async function whyUnsafe(path: string): Promise<string | undefined> {
  try {
    const about = await stat(path);
    if (about.isDirectory()) return "is a directory";
    const isOpen = about.isFile() && (about.mode & 0o077) !== 0;
    return isOpen && process.platform !== "win32"
      ? "can be used by others: chmod 600 it"
      : undefined;
  } catch (error) {
    return `can't be read: ${(error as { code?: string }).code}`;
  }
}

/**
 * The first matching password in PGPASSFILE or ~/.pgpass; undefined if there is
 * no file.
 */
async function passwordFromFile(
  target: ConnectionTarget,
): Promise<string | undefined> {
  const path = process.env.PGPASSFILE || join(homedir(), ".pgpass");
  const why = await whyUnsafe(path);
  if (why !== undefined) {
    if (!why.endsWith("ENOENT")) {
      console.error(`Warning: ${quoted(path, 200)} is ignored, it ${why}`);
    }
    return undefined;
  }
  const lines = (await readText(createReadStream(path))).split(/\r?\n/);
  const found = target.hosts.map((host) => passwordIn(lines, target, host));
  // No host may get the password of another one.
  if (new Set(found).size > 1) {
    throw refused(
      "bad_url",
      "Expected one password for all hosts of the address in the password file",
    );
  }
  return found[0];
}

const field = "((?:\\\\.|[^\\\\:])*):";
const passwordLine = new RegExp(`^${field.repeat(4)}(.*)$`);

/**
 * Finds a password by libpq's rules: host:port:database:user:password, where
 * `*` matches anything.
 */
function passwordIn(
  lines: readonly string[],
  { database, user }: ConnectionTarget,
  { host, port }: { host: string; port: number },
): string | undefined {
  const wanted = [host, String(port), database, user];
  for (const line of lines) {
    const [, ...parts] = passwordLine.exec(line) ?? [];
    const fits = wanted.every((value, i) =>
      parts[i] === "*" || unescaped(parts[i] ?? "") === value
    );
    if (fits && parts[4] && !line.startsWith("#")) return unescaped(parts[4]);
  }
  return undefined;
}

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, "$1");
}

function withPassword(url: string, password: string): string {
  const encoded = encodeURIComponent(password);
  const login = /^([^:]+:\/\/[^@/?#:]+):?(@.*)$/s.exec(url);
  if (login !== null) return `${login[1]}:${encoded}${login[2]}`;
  return `${url}${url.includes("?") ? "&" : "?"}password=${encoded}`;
}

async function readText(source: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw refused("bad_url", `Expected at most ${maxBytes} bytes`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function refused(reason: string, message: string): StreamStorageError {
  return new StreamStorageError({
    code: "BAD_CONFIG",
    message,
    details: { reason },
  });
}
