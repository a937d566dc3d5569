/**
 * Imports streams from a file.
 *
 * The file is read twice. First all of it is verified, digests and rules, so that
 * of a file that is damaged or cut nothing is written. Then each stream is written
 * so that it is there whole or not at all (target/write_stream.ts), and its digest
 * is checked again before. To extend streams, a reading in between compares the
 * file with what is stored.
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
 * Verifies an export: that it is whole and as it was written, and that every
 * stream in it could be imported.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`: `bad_export`, it is damaged, cut or
 *   none; `unknown_export_version`; `export_file`, it can't be read;
 *   `FAILED_PRECONDITION` (`broken_stream`): a stream in it breaks the rules;
 *   `CANCELED`: the signal.
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
 * Writes the streams of a file into a schema, which nobody may own meanwhile
 * unless `takeOver`. A stream is there whole or not at all, whatever happens; what
 * was written by an import that was stopped stays, and `after` goes on behind it.
 *
 * @throws {StreamStorageError} as `verifyExport` and `openStreamStorage`;
 *   `RESOURCE_EXHAUSTED` (`schema_owned`): somebody owns the schema.
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
