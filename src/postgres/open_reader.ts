/**
 * Opens a reader: checks the options, looks at the schema, and wires together
 * what reads (read_core.ts). Takes, writes, locks and starts nothing.
 */

import { connectSession } from "../database/driver.ts";
import { selectHasCitus } from "../database/cluster/find_home.ts";
import { operationError } from "../database/failures.ts";
import { isDirect } from "../database/lasting_session.ts";
import { checkReadable } from "../database/migrations/readable.ts";
import { bind } from "../database/statement.ts";
import { CallRunner } from "./call_runner.ts";
import { Place, sessionOptions, telemetryOf } from "./connections.ts";
import type { ReadingOptions } from "./resolved_options.ts";
import type { PostgresStreamReader } from "./postgres_stream_reader.ts";
import { loadBucket } from "./load_bucket.ts";
import { makeReadCore, type ReadCore } from "./read_core.ts";
import { StreamReaderFacade } from "./reader_facade.ts";
import {
  resolveReaderOptions,
  type StreamReaderOptions,
} from "./reader_options.ts";

/** Opens a reader; see `openStreamReader`. */
export async function openReader(
  options: StreamReaderOptions,
): Promise<PostgresStreamReader> {
  const resolved = resolveReaderOptions(options);
  return readerOn(await openCore(resolved), resolved);
}

/**
 * Opens the parts of a reader, for tools that read the tables by statements of
 * their own. The caller closes it. With `mayLackTables`, partitions may lack
 * tables, because the caller wants to report them.
 *
 * @throws {StreamStorageError} as `openStreamReader`.
 */
export function openReadCore(
  options: StreamReaderOptions,
  { mayLackTables = false }: { mayLackTables?: boolean } = {},
): Promise<ReadCore> {
  return openCore(resolveReaderOptions(options), mayLackTables);
}

const operation = "openStreamReader";

async function openCore(
  options: ReadingOptions,
  mayLackTables = false,
): Promise<ReadCore> {
  const telemetry = await telemetryOf(options, { isReader: true });
  const place = new Place(options);
  try {
    options.signal?.throwIfAborted();
    await place.enter();
    const { partitions, isOwnSession } = await look(
      options,
      place,
      mayLackTables,
    );
    const openBucket = await loadBucket(options);
    return makeReadCore(isOwnSession ? options : pooled(options), {
      place,
      telemetry,
      partitions,
      // Looked up with the first block that is in object storage.
      own: "absent",
      connections: options.maxConnections,
      openBucket,
    });
  } catch (error) {
    telemetry.close();
    place.leave();
    throw operationError(operation, error, options.signal);
  }
}

/**
 * Behind a pooler, no setting may be left in a session: its next user may be
 * the owner, and would not be able to write.
 */
function pooled(options: ReadingOptions): ReadingOptions {
  return { ...options, preparedStatements: false };
}

/** Looks at the schema, in transactions, because of poolers. */
async function look(
  options: ReadingOptions,
  { home }: Place,
  mayLackTables: boolean,
): Promise<{ partitions: number; isOwnSession: boolean }> {
  const { schema, target, signal } = options;
  await using session = await connectSession(target, {}, {
    ...sessionOptions(options),
    preparedStatements: false,
    isForLittle: true,
    signal,
  });
  const onAbort = () => session.giveUp("Opening was aborted");
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    // All servers of a cluster have the same catalogue, so this look needs no
    // other server, wherever the tables are.
    const [[{ rows: [row] }], isOwnSession] = await Promise.all([
      session.run([bind(selectHasCitus)]),
      isDirect(session),
    ]);
    if (row?.[0] === true) await home.isKnownAt(session);
    return {
      isOwnSession,
      partitions: await checkReadable(session, {
        schema,
        operation,
        mayLackTables,
      }),
    };
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

function readerOn(
  core: ReadCore,
  { operationTimeoutMs }: ReadingOptions,
): PostgresStreamReader {
  const { schema, telemetry, catalog, transactions, media } = core;
  return new StreamReaderFacade({
    schema,
    reader: { catalog, transactions, media },
    calls: new CallRunner({
      operations: telemetry.operations,
      operationTimeoutMs,
    }),
    telemetry,
    close: () => core.close(),
  });
}
