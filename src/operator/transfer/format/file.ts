/** Reads and writes files of exports, compressed or not. */

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

/** Whether the file's name says that it is compressed. */
function isCompressed(file: string): boolean {
  return file.endsWith(".gz");
}

/** Reads the file, part by part. */
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
  // A failure of the file or of the decompression also ends the stream that is
  // read, and appears there.
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

/**
 * A file that is being written. Only this user may read it, because it holds
 * payload.
 */
export class ExportFile implements AsyncDisposable {
  readonly #handle: FileHandle;
  #at: number;
  #gzip: Gzip | undefined;
  /** Writes the compressed bytes. If that fails, the next write fails. */
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

  /** @param from Where to continue; undefined: the file must not exist. */
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

  /** Returns when the file can take more. */
  async write(piece: Uint8Array): Promise<void> {
    if (this.#gzip === undefined) await this.#append(piece);
    else if (!this.#gzip.write(piece)) {
      await Promise.race([once(this.#gzip, "drain"), this.#compressed]);
    }
  }

  /** Returns when everything is on the disk. */
  async finish(): Promise<void> {
    this.#gzip?.end();
    await this.#compressed;
    await this.#handle.sync();
  }

  /** Closes the file. */
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
 * Finds where an interrupted export has to continue: after its last complete
 * stream. Everything before is read and verified. Without a mark, the file
 * holds nothing yet.
 *
 * @throws {StreamStorageError} BAD_CONFIG: `export_file`, the export has ended;
 *   `bad_export`, it has other faults than that it was cut.
 */
export async function findResumption(
  file: string,
  signal?: AbortSignal,
): Promise<{ mark?: Mark; after?: string }> {
  if (isCompressed(file)) {
    throw badFile("a file without compression, to continue it", "a .gz file");
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

/**
 * The error of a file. It holds only the failure's code, because the failure's
 * text contains the path.
 */
function fileFault(expected: string) {
  return (error: unknown): Error => {
    const { code, name } = error as { code?: unknown; name?: unknown };
    return name === "AbortError"
      ? error as Error
      : badFile(expected, typeof code === "string" ? code : "a failure");
  };
}
