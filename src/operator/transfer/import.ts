/**
 * Imports streams from a file.
 *
 * The file is read twice. The first reading verifies all digests and rules, so
 * that nothing is written from a file that is damaged or cut. The second one
 * checks each stream's digest again and writes the stream completely or not at
 * all (target/write_stream.ts). To extend streams, a reading in between
 * compares the file with the stored streams.
 */

import { openOwned } from "../repair/owner.ts";
import {
  badFile,
  bytesOfBlocks,
  bytesOfTail,
  checkTransferOptions,
} from "./counting.ts";
import { readExport } from "./format/file.ts";
import { ImportRun } from "./import_run.ts";
import type {
  ExportContents,
  ImportOptions,
  TransferSummary,
} from "./options.ts";
import { targetOwnerOptions } from "./source/reader_options.ts";
import { withTypedErrors } from "./typed_errors.ts";

const operation = "importStreams";

/**
 * Verifies that an export is complete and unchanged, and that every stream in
 * it could be imported.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`: `bad_export`, the file is damaged,
 *   cut or not an export; `unknown_export_version`; `export_file`, the file
 *   can't be read; `FAILED_PRECONDITION` (`broken_stream`): a stream in it
 *   breaks the rules; `CANCELED`: the signal.
 */
export async function verifyExport(
  file: string,
  { signal, onProgress }: {
    signal?: AbortSignal;
    /** Called after each stream. */
    onProgress?: (contents: Omit<ExportContents, "header">) => void;
  } = {},
): Promise<ExportContents> {
  return await withTypedErrors("verifyExport", signal, async () => {
    let header: ExportContents["header"] | undefined;
    const counts = { streams: 0, blocks: 0, bytes: 0 };
    let present = { blocks: 0, bytes: 0 };
    for await (const event of readExport(file, signal)) {
      signal?.throwIfAborted();
      if (event.is === "header") header = event.header;
      else if (event.is === "begin") present = { blocks: 0, bytes: 0 };
      else if (event.is === "block") {
        present.blocks++;
        present.bytes += bytesOfBlocks([event.block]);
      } else if (event.is === "end") {
        counts.streams++;
        counts.blocks += present.blocks;
        counts.bytes += present.bytes + bytesOfTail(event.tail);
        onProgress?.({ ...counts });
      }
    }
    return { header: header!, ...counts };
  });
}

/**
 * Writes the streams of a file into a schema. No other instance may own the
 * schema, unless `takeOver` is set. Each stream is written completely or not at
 * all. If an import is interrupted, its finished streams stay, and `after`
 * continues behind them.
 *
 * @throws {StreamStorageError} as `verifyExport` and `openStreamStorage`;
 *   `RESOURCE_EXHAUSTED` (`schema_owned`): another instance owns the schema.
 */
export async function importStreams(
  options: ImportOptions,
): Promise<TransferSummary> {
  const { file, signal } = options;
  return await withTypedErrors(operation, signal, async () => {
    checkTransferOptions(options);
    if (file === undefined) throw badFile("a file", "none");
    await verifyExport(file, signal ? { signal } : {});
    await using owned = await openOwned(targetOwnerOptions(options), "check");
    return await new ImportRun(owned.callers, options).run();
  });
}
