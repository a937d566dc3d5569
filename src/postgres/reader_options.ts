/** The options of `openStreamReader`: those of a store that concern reading. */

import type {
  ConnectionTarget,
  TargetDefaults,
} from "../database/connection_target.ts";
import type { SessionAttrs } from "../database/session_attrs.ts";
import {
  type Fault,
  flag,
  int,
  object,
  oneOf,
  optional,
  Place,
  text,
  withDefault,
} from "./checks.ts";
import type { StreamStorageOptions } from "./options.ts";
import { optionChecks } from "./option_checks.ts";
import { connectionTarget } from "./connection_options.ts";
import {
  badConfig,
  checkObjectNames,
  type ReadingOptions,
  timeoutsOf,
} from "./resolved_options.ts";

/**
 * The options of `openStreamReader`; only `schema` has no default. Options
 * without a description here are as in {@linkcode StreamStorageOptions}.
 * Options that make sense only for an owner are refused.
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
    | "clusterHosts"
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
   * libpq's target_session_attrs: which of several hosts to read from.
   * Overrides the url's. Default `prefer-standby`, which spares the owner; a
   * standby may be behind.
   */
  targetSessionAttrs?: "any" | "primary" | "standby" | "prefer-standby";
  /** The name that the server shows. Default `stream-reader`. */
  applicationName?: string;
  /**
   * Whether statements stay prepared on the reader's own sessions. Behind a
   * pooler they never do: settings and statements are sent with each call.
   * Default true.
   */
  preparedStatements?: boolean;
}

/** The check of every option; a missing one is a type error. */
const checks = {
  url: optionChecks.url,
  host: optionChecks.host,
  port: optionChecks.port,
  user: optionChecks.user,
  password: optionChecks.password,
  database: optionChecks.database,
  ssl: optionChecks.ssl,
  channelBinding: optionChecks.channelBinding,
  requireAuth: optionChecks.requireAuth,
  clusterHosts: optionChecks.clusterHosts,
  schema: optionChecks.schema,
  signal: optionChecks.signal,
  idleTimeoutMs: optionChecks.idleTimeoutMs,
  connectionLimit: optionChecks.connectionLimit,
  statementTimeoutMs: optionChecks.statementTimeoutMs,
  lockTimeoutMs: optionChecks.lockTimeoutMs,
  operationTimeoutMs: optionChecks.operationTimeoutMs,
  retry: optionChecks.retry,
  mediaStorage: optionChecks.mediaStorage,
  logger: optionChecks.logger,
  maxConnections: withDefault(int(1, 1000), 4),
  applicationName: optional(text(1, 63)),
  preparedStatements: withDefault(flag, true),
  targetSessionAttrs: optional(
    oneOf("any", "primary", "standby", "prefer-standby"),
  ),
} satisfies Record<keyof StreamReaderOptions, unknown>;
const checkOptions = object(checks);

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
  const faults: Fault[] = [];
  const checked = checkOptions(options, new Place([], faults));
  const isChecked = faults.length === 0;
  const target = connectionTarget(options ?? {}, faults, defaults);
  if (isChecked) checkObjectNames(checked, faults);
  if (target === undefined || faults.length > 0) {
    throw badConfig(faults, "openStreamReader");
  }
  const { targetSessionAttrs, ...data } = checked;
  const place = readersTarget(target, targetSessionAttrs);
  return {
    ...data,
    ...timeoutsOf(data),
    target: place,
    ownershipTarget: place,
    // All statements of a flush see one state.
    isolationLevel: "repeatable read",
    isReadOnly: true,
  };
}

/** A reader's sessions refuse writes, so only the kind of server counts. */
function readersTarget(
  target: ConnectionTarget,
  given: SessionAttrs | undefined,
): ConnectionTarget {
  const wanted = given ?? target.sessionAttrs;
  const sessionAttrs = wanted === "read-write" ? "primary" : wanted;
  return { ...target, sessionAttrs };
}
