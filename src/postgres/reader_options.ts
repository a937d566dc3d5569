/** The options of `openStreamReader`: those of a store that reading needs. */

import { z } from "zod";
import {
  badConfig,
  checkObjectNames,
  connectionTarget,
  faultsOf,
  optionsSchema,
  type ReadingOptions,
  type StreamStorageOptions,
  timeoutsOf,
} from "./options.ts";

/**
 * What `openStreamReader` needs to know; only `schema` has no default. What is
 * not told of here is as with {@linkcode StreamStorageOptions}. Options that only
 * make sense for an owner are refused.
 */
export interface StreamReaderOptions extends
  Pick<
    StreamStorageOptions,
    | "url"
    | "host"
    | "port"
    | "user"
    | "password"
    | "database"
    | "ssl"
    | "channelBinding"
    | "requireAuth"
    | "schema"
    | "signal"
    | "idleTimeoutMs"
    | "connectionLimit"
    | "statementTimeoutMs"
    | "lockTimeoutMs"
    | "operationTimeoutMs"
    | "retry"
    | "mediaStorage"
    | "logger"
  > {
  /** Connections at most, 1 or more. Default 4. */
  maxConnections?: number;
  /** As the server shows it. Default `stream-reader`. */
  applicationName?: string;
  /**
   * False for poolers that change servers between calls: what is to last for
   * the session, statements and settings, is sent with each call instead.
   * Default true.
   */
  preparedStatements?: boolean;
}

const readerSchema = optionsSchema.pick({
  url: true,
  host: true,
  port: true,
  user: true,
  password: true,
  database: true,
  ssl: true,
  channelBinding: true,
  requireAuth: true,
  schema: true,
  signal: true,
  idleTimeoutMs: true,
  connectionLimit: true,
  statementTimeoutMs: true,
  lockTimeoutMs: true,
  operationTimeoutMs: true,
  retry: true,
  mediaStorage: true,
  logger: true,
}).extend({
  maxConnections: z.int().min(1).max(1000).default(4),
  applicationName: z.string().min(1).max(63).optional(),
  preparedStatements: z.boolean().default(true),
});

const defaults = { applicationName: "stream-reader" };

/**
 * Checks options and fills in defaults.
 *
 * @throws {StreamStorageError} BAD_CONFIG, as `resolveOptions`.
 */
export function resolveReaderOptions(
  options: StreamReaderOptions,
): ReadingOptions {
  const parsed = readerSchema.safeParse(options);
  const faults = parsed.success ? [] : faultsOf(parsed.error);
  const target = connectionTarget(options ?? {}, faults, defaults);
  if (parsed.success) checkObjectNames(parsed.data, faults);
  if (!parsed.success || target === undefined || faults.length > 0) {
    throw badConfig(faults, "openStreamReader");
  }
  const { data } = parsed;
  return {
    ...data,
    ...timeoutsOf(data),
    target,
    ownershipTarget: target,
    // The statements of a flush see one state.
    isolationLevel: "repeatable read",
    isReadOnly: true,
  };
}
