/**
 * The undo file, in JSON lines. A change is on the disk before its transaction
 * begins. The next line says whether the change was made. So at any
 * interruption the rows are in the database or in the file.
 */

import { createReadStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { fault } from "../../storage/fault.ts";
import { type RowTable, rowTables } from "./tables.ts";

/** The rows of a stream that a repair removes, as the server's JSON. */
export interface RowsChange {
  kind: "rows";
  streamId: string;
  suffix: string;
  table: RowTable;
  /**
   * Whether the rows may be put back only while no stream with this id exists.
   */
  isOrphan: boolean;
  /** The rows as a JSON array. */
  rows: string;
}

/** A marker that a repair writes in place of those in `rows`. */
export interface MarkerChange {
  kind: "marker";
  streamId: string;
  suffix: string;
  generation: string;
  /** The rows as a JSON array. */
  rows: string;
}

/** The latest snapshot that a repair moves. */
export interface PointerChange {
  kind: "pointer";
  streamId: string;
  suffix: string;
  from: string;
  to: string;
}

/** The change of one transaction. */
export type Change = RowsChange | MarkerChange | PointerChange;

const format = "stream-storage-undo";
const version = 1;

/** Writes a new undo file. */
export class UndoWriter implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #path: string;
  #isNeeded = false;

  private constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /**
   * Makes the file. An existing file is refused, because it may hold the only
   * copy of rows that another repair has removed. Only this user may read the
   * file, since it holds payload.
   */
  static async create(path: string, schema: string): Promise<UndoWriter> {
    const file = await open(path, "wx", 0o600).catch((error: Error) => {
      throw fault(
        "BAD_CONFIG",
        "undo_file",
        `The undo file can't be made: expected a new file in a directory that ` +
          `can be written to, found ${codeOf(error)}`,
      );
    });
    const writer = new UndoWriter(file, path);
    await writer.#write({ format, version, schema });
    await syncDirectory(dirname(path));
    return writer;
  }

  /** Returns when the disk has the change. */
  async begin(change: Change): Promise<void> {
    this.#isNeeded = true;
    await this.#write({ change });
  }

  /** Records whether the last change was made. */
  async end(isDone: boolean): Promise<void> {
    await this.#write({ done: isDone });
  }

  /** Closes the file, and removes it if there is nothing to undo. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    if (!this.#isNeeded) await rm(this.#path, { force: true });
  }

  async #write(line: unknown): Promise<void> {
    await this.#file.appendFile(`${JSON.stringify(line)}\n`);
    await this.#file.sync();
  }
}

/** A new file's name is durable only once its directory is on the disk, too. */
async function syncDirectory(path: string): Promise<void> {
  try {
    await using directory = await open(path, "r");
    await directory.sync();
  } catch {
    // Not every system can sync a directory.
  }
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.name;
}

/**
 * Yields the changes of an undo file that were made, in their order. If the
 * file does not say whether a change was made, a crash has come between, and
 * the change counts as made.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`, `undo_file`: it is not an undo
 *   file, belongs to another schema, or is damaged.
 */
export async function* readChanges(
  path: string,
  schema: string,
): AsyncGenerator<Change> {
  const input = createReadStream(path, "utf8");
  const lines = createInterface({ input, crlfDelay: Infinity });
  let number = 0;
  let last: Change | undefined;
  try {
    for await (const line of lines) {
      number++;
      if (number === 1) {
        checkHeader(line, schema);
        continue;
      }
      const entry = parse(line);
      // A crash has cut the last line; its change was never sent.
      if (entry === undefined) break;
      if ("change" in entry) {
        if (last !== undefined) yield last;
        last = asChange(entry["change"], number);
      } else if (last !== undefined) {
        if (entry["done"] === true) yield last;
        last = undefined;
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    throw broken(`found ${codeOf(error as Error)}`);
  } finally {
    lines.close();
    input.destroy();
  }
  if (number === 0) throw broken("it is empty");
  if (last !== undefined) yield last;
}

function checkHeader(line: string, schema: string): void {
  const header = parse(line);
  if (header?.["format"] !== format || header["version"] !== version) {
    throw broken("it is not an undo file, or has another version");
  }
  if (header["schema"] !== schema) throw broken("it belongs to another schema");
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null
      ? value as Record<string, unknown>
      : undefined;
  } catch {
    return undefined;
  }
}

const fields = {
  rows: ["streamId", "suffix", "table", "rows"],
  marker: ["streamId", "suffix", "generation", "rows"],
  pointer: ["streamId", "suffix", "from", "to"],
};

function asChange(value: unknown, line: number): Change {
  const change = Object(value) as Record<string, unknown>;
  const kind = change["kind"];
  const names = typeof kind === "string" && kind in fields
    ? fields[kind as keyof typeof fields]
    : undefined;
  const fits = names?.every((name) => typeof change[name] === "string") &&
    /^[rm][0-9a-f]{2}$/.test(change["suffix"] as string) &&
    (kind !== "rows" || (change["table"] as string) in rowTables);
  if (!fits) throw broken(`line ${line} is no change`);
  return change as unknown as Change;
}

function broken(what: string) {
  return fault(
    "BAD_CONFIG",
    "undo_file",
    `The undo file can't be used: ${what}`,
  );
}
