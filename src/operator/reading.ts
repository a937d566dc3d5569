/** Opens the core of a reader for reads that may take long. */

import { operationError } from "../database/failures.ts";
import { openReadCore } from "../postgres/open_reader.ts";
import type { ReadCore } from "../postgres/read_core.ts";
import type { StreamReaderOptions } from "../postgres/reader_options.ts";

/** A page may cover a stream of millions of blocks. */
const patientMs = 600_000;
/**
 * Enough attempts to wait about 20 s for a locked table or a restarting server.
 */
const attempts = 30;

/**
 * Opens the core of a reader with longer deadlines than a node's calls have.
 */
export function openPatientCore(
  options: StreamReaderOptions,
): Promise<ReadCore> {
  return openReadCore({
    applicationName: "stream-operator",
    operationTimeoutMs: patientMs,
    statementTimeoutMs: patientMs,
    retry: { attempts },
    ...options,
  });
}

/**
 * Runs `work` on a store that is only read.
 *
 * @throws {StreamStorageError} as `openStreamReader`.
 */
export async function reading<T>(
  operation: string,
  options: StreamReaderOptions,
  work: (core: ReadCore, signal?: AbortSignal) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  try {
    await using core = await openPatientCore(options);
    return await work(core, signal);
  } catch (error) {
    throw operationError(operation, error, signal);
  }
}
