/** One session of one's own, for what is asked of the server, not of a store. */

import { connectSession } from "../database/driver.ts";
import { toStorageError } from "../database/failures.ts";
import { languageSettings } from "../database/role_settings.ts";
import { searchPath } from "../database/search_path.ts";
import type { Session } from "../database/session.ts";
import { sessionOptions } from "../postgres/connections.ts";
import type { ReadingOptions } from "../postgres/resolved_options.ts";
import {
  resolveReaderOptions,
  type StreamReaderOptions,
} from "../postgres/reader_options.ts";
import { canceled } from "../storage/contract_errors.ts";

/** Which server, as `openStreamReader` is told. */
export type ServerOptions = Omit<
  StreamReaderOptions,
  "schema" | "mediaStorage" | "maxConnections" | "idleTimeoutMs"
>;

/** Any name will do where no schema is looked at. */
const noSchema = "public";

/** What a session is for. */
interface SessionUse extends ServerOptions {
  schema?: string;
  /** Milliseconds that a statement may take: those of options end at an hour. */
  statementMs?: number;
}

/**
 * Runs `work` with a session, which is closed then. What it runs must not depend
 * on settings of a session: a pooler may stand between.
 *
 * @throws {StreamStorageError} as `openStreamReader`.
 */
export async function withSession<T>(
  operation: string,
  { statementMs, ...options }: SessionUse,
  work: (session: Session, resolved: ReadingOptions) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  try {
    const resolved = {
      ...resolveReaderOptions({
        applicationName: "stream-operator",
        ...options,
        schema: options.schema ?? noSchema,
      }),
      ...(statementMs !== undefined && { statementTimeoutMs: statementMs }),
    };
    await using session = await connectSession(resolved.target, {}, {
      ...sessionOptions(resolved),
      preparedStatements: false,
      // With each transaction, for a pooler may keep nothing for a session.
      transactionSettings: {
        search_path: searchPath,
        ...languageSettings,
        statement_timeout: String(resolved.statementTimeoutMs),
      },
      signal,
    });
    const onAbort = () => session.giveUp("The work was aborted");
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await work(session, resolved);
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  } catch (error) {
    if (signal?.aborted) throw canceled(signal.reason).withOperation(operation);
    throw toStorageError(error).withOperation(operation);
  }
}
