/** The options of `openStreamReader`: those of a store that reading needs. */

import { z } from "zod";
import type {
  ConnectionTarget,
  TargetDefaults,
} from "../database/connection_target.ts";
import type { SessionAttrs } from "../database/session_attrs.ts";
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
  /**
   * libpq's target_session_attrs: which of several hosts to read from. It counts
   * more than the url's. Default `prefer-standby`, which spares the owner; a
   * standby may be behind.
   */
  targetSessionAttrs?: "any" | "primary" | "standby" | "prefer-standby";
  /** As the server shows it. Default `stream-reader`. */
  applicationName?: string;
  /**
   * Whether statements stay prepared on sessions that are the reader's own. Behind
   * a pooler they never do: settings and statements go with each call. Default
   * true.
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
  targetSessionAttrs: z.enum(["any", "primary", "standby", "prefer-standby"])
    .optional(),
});

const defaults: TargetDefaults = {
  applicationName: "stream-reader",
  sessionAttrs: "prefer-standby",
};

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
  const { targetSessionAttrs, ...data } = parsed.data;
  const place = readersTarget(target, targetSessionAttrs);
  return {
    ...data,
    ...timeoutsOf(data),
    target: place,
    ownershipTarget: place,
    // The statements of a flush see one state.
    isolationLevel: "repeatable read",
    isReadOnly: true,
  };
}

/** Its own sessions take no writes, so it is the server's kind that counts. */
function readersTarget(
  target: ConnectionTarget,
  given: SessionAttrs | undefined,
): ConnectionTarget {
  const wanted = given ?? target.sessionAttrs;
  const sessionAttrs = wanted === "read-write" ? "primary" : wanted;
  return { ...target, sessionAttrs };
}
