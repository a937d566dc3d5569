/** Files of exports, compressed or not. */

import { once } from "node:events";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip, type Gzip } from "node:zlib";
import { badFile } from "../counting.ts";
import {
  decodeExport,
  type ExportEvent,
  isCutExport,
  type Mark,
} from "./decode.ts";

/** By its name. */
export function isCompressed(file: string): boolean {
  return file.endsWith(".gz");
}

/** What is in the file, event by event. */
export async function* readExport(
  file: string,
  signal?: AbortSignal,
): AsyncGenerator<ExportEvent> {
  const options = { highWaterMark: 256 * 1024, signal };
  const stream = createReadStream(file, options);
  const failed = fileFault("a file that can be read");
  if (!isCompressed(file)) {
    yield* decodeExport(chunksOf(stream, failed));
    return;
  }
  const gunzip = createGunzip({ chunkSize: 256 * 1024 });
  // A failure of either ends the other one, which is the one that is read.
  const ended = pipeline(stream, gunzip).catch(() => {});
  try {
    yield* decodeExport(chunksOf(gunzip, failed));
  } finally {
    gunzip.destroy();
    stream.destroy();
    await ended;
  }
}

async function* chunksOf(
  stream: AsyncIterable<Uint8Array>,
  failed: (error: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (error) {
    throw failed(error);
  }
}

/** A file that is being written. Others must not read it: it holds payload. */
export class ExportFile implements AsyncDisposable {
  readonly #handle: FileHandle;
  #at: number;
  #gzip: Gzip | undefined;
  /** The compressed bytes are written; its failure is that of the next write. */
  #compressed: Promise<void> | undefined;

  private constructor(handle: FileHandle, at: number, isGzip: boolean) {
    this.#handle = handle;
    this.#at = at;
    if (!isGzip) return;
    this.#gzip = createGzip();
    this.#compressed = pipeline(this.#gzip, async (pieces) => {
      for await (const piece of pieces) await this.#append(piece);
    });
    this.#compressed.catch(() => {});
  }

  /** @param from Where to go on; undefined: the file must not be there. */
  static async open(file: string, from?: number): Promise<ExportFile> {
    const expected = "a new file in a directory that can be written to";
    try {
      const flags = from === undefined ? "wx" : "r+";
      const handle = await open(file, flags, 0o600);
      if (from !== undefined) await handle.truncate(from);
      return new ExportFile(handle, from ?? 0, isCompressed(file));
    } catch (error) {
      throw fileFault(expected)(error);
    }
  }

  /** Returns when more can be taken. */
  async write(piece: Uint8Array): Promise<void> {
    if (this.#gzip === undefined) await this.#append(piece);
    else if (!this.#gzip.write(piece)) {
      await Promise.race([once(this.#gzip, "drain"), this.#compressed]);
    }
  }

  /** Returns when the disk has it all. */
  async finish(): Promise<void> {
    this.#gzip?.end();
    await this.#compressed;
    await this.#handle.sync();
  }

  /** Lets go of the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#gzip?.destroy();
    await this.#compressed?.catch(() => {});
    await this.#handle.close();
  }

  async #append(piece: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < piece.length;) {
        const { bytesWritten } = await this.#handle.write(
          piece,
          done,
          piece.length - done,
          this.#at,
        );
        done += bytesWritten;
        this.#at += bytesWritten;
      }
    } catch (error) {
      throw fileFault("a file with room for the export")(error);
    }
  }
}

/**
 * Where an export that was interrupted has to go on: behind the last stream that
 * is whole. What stands before is read and verified. No mark: it has nothing yet.
 *
 * @throws {StreamStorageError} BAD_CONFIG: `export_file`, the export has ended;
 *   `bad_export`, more is wrong with it than that it was cut.
 */
export async function findResumption(
  file: string,
  signal?: AbortSignal,
): Promise<{ mark?: Mark; after?: string }> {
  if (isCompressed(file)) {
    throw badFile("a file without compression, to go on with it", "a .gz file");
  }
  const found: { mark?: Mark; after?: string } = {};
  try {
    for await (const event of readExport(file, signal)) {
      if ("mark" in event) found.mark = event.mark;
      if (event.is === "end") found.after = event.head.streamId;
      if (event.is === "trailer") {
        throw badFile("an export that was interrupted", "one that has ended");
      }
    }
  } catch (error) {
    if (!isCutExport(error)) throw error;
  }
  return found;
}

/** Only the kind of the failure is told: its text has the path in it. */
function fileFault(expected: string) {
  return (error: unknown): Error => {
    const { code, name } = error as { code?: unknown; name?: unknown };
    return name === "AbortError"
      ? error as Error
      : badFile(expected, typeof code === "string" ? code : "a failure");
  };
}
