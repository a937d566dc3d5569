/** Opens a single session, for questions about a server rather than a store. */

import { connectSession } from "../database/driver.ts";
import { operationError } from "../database/failures.ts";
import { languageSettings } from "../database/role_settings.ts";
import { searchPath } from "../database/search_path.ts";
import type { Session } from "../database/session.ts";
import { sessionOptions } from "../postgres/connections.ts";
import type { ReadingOptions } from "../postgres/resolved_options.ts";
import {
  resolveReaderOptions,
  type StreamReaderOptions,
} from "../postgres/reader_options.ts";

/** The server, with the options of `openStreamReader`. */
export type ServerOptions = Omit<
  StreamReaderOptions,
  "schema" | "mediaStorage" | "maxConnections" | "idleTimeoutMs"
>;

/** The options need a schema; if the work uses none, any name will do. */
const noSchema = "public";

/** The server and the time limit of a session. */
interface SessionUse extends ServerOptions {
  schema?: string;
  /**
   * Milliseconds that a statement may take. The option of a store allows an
   * hour at most.
   */
  statementMs?: number;
}

/**
 * Runs `work` with a session and closes it afterwards. `work` must not depend
 * on settings of a session, because a pooler may stand between.
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
      // Sent with each transaction, because a pooler may not keep settings for
      // a session.
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
    throw operationError(operation, error, signal);
  }
}
