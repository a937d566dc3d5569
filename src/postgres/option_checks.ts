/** The check of each option of `openStreamStorage`, and its default. */

import { ConnectionLimit } from "../storage/connection_limit.ts";
import type { SslMode, SslOptions } from "../database/connection_target.ts";
import { parseRequireAuth } from "../database/login/auth_policy.ts";
import {
  type Reach,
  readClusterHosts,
} from "../database/cluster/cluster_hosts.ts";
import type { Logger } from "../telemetry/log_events.ts";
import {
  also,
  callable,
  type Check,
  flag,
  int,
  isFunction,
  isObject,
  object,
  oneOf,
  optional,
  type Place,
  text,
  textThat,
  that,
  withDefault,
} from "./checks.ts";
import { checkMediaStorage } from "./media_options.ts";
import type { StreamStorageOptions } from "./options.ts";
import { checkQuotas } from "./quotas.ts";
import { checkTrimming } from "./trimming_options.ts";

/** The option `ephemeralTtlMs` without its default. */
export const checkEphemeralTtl = int(1, 366 * 86_400_000);
const milliseconds = int(1, 3_600_000);
const word = text(1);
const sslMode = oneOf(
  "disable",
  "prefer",
  "require",
  "verify-ca",
  "verify-full",
);

const sslOptions: Check<SslOptions> = also(
  object({
    mode: sslMode,
    ca: optional(text()),
    cert: optional(text()),
    key: optional(text()),
    negotiation: optional(oneOf("postgres", "direct")),
  }),
  (ssl, place) => {
    const { mode, negotiation, cert, key } = ssl;
    if (negotiation === "direct" && ["disable", "prefer"].includes(mode)) {
      place.refuse("negotiation direct needs mode require or stricter");
    }
    if ((cert === undefined) !== (key === undefined)) {
      place.refuse("cert and key need each other");
    }
    return ssl as SslOptions;
  },
);

/** The check of every option; a missing one is a type error. */
export const optionChecks = {
  url: optional(text()),
  host: optional(word),
  port: optional(int(1, 65535)),
  user: optional(word),
  password: optional(
    that<string | (() => string | Promise<string>)>(
      (value) => typeof value === "string" || isFunction(value),
      "must be a text or a function",
    ),
  ),
  database: optional(word),
  ssl: optional<SslMode | SslOptions>((value, place) =>
    isObject(value) ? sslOptions(value, place) : sslMode(value, place)
  ),
  channelBinding: optional(oneOf("disable", "prefer", "require")),
  requireAuth: optional(textThat(
    (text) => parseRequireAuth(text) !== undefined,
    "must list none, password, md5, scram-sha-256, gss, sspi, or all of them " +
      "after an exclamation mark",
  )),
  ownershipUrl: optional(text()),
  clusterHosts: optional<Reach>((value, place) => {
    const reach = readClusterHosts(value);
    if (!reach) place.refuse('must map "host:port" to "host:port"');
    return reach!;
  }),
  schema: textThat(
    isSchemaName,
    "must be 1 to 63 bytes without a zero character, not pg_…",
  ),
  signal: optional(
    that<AbortSignal>(
      (value) => value instanceof AbortSignal,
      "must be an AbortSignal",
    ),
  ),
  partitions: withDefault(int(1, 256), 256),
  instanceId: (value: unknown, place: Place) =>
    text(1, 255)(value === undefined ? crypto.randomUUID() : value, place),
  whenOwned: withDefault(oneOf("take", "wait", "fail"), "take"),
  maxConnections: withDefault(int(3, 1000), 10),
  idleTimeoutMs: withDefault(int(0, 86_400_000), 300_000),
  connectionLimit: optional(
    that<ConnectionLimit>(
      (value) => value instanceof ConnectionLimit,
      "must be a ConnectionLimit",
    ),
  ),
  isolationLevel: withDefault(
    oneOf("read committed", "repeatable read", "serializable"),
    "read committed",
  ),
  applicationName: withDefault(text(1, 63), "stream-storage"),
  statementTimeoutMs: optional(milliseconds),
  lockTimeoutMs: optional(milliseconds),
  operationTimeoutMs: withDefault(milliseconds, 5000),
  startupDelayMs: withDefault(int(0, 3_600_000), 2000),
  retry: withDefault(
    object({
      attempts: withDefault(int(1, 100), 8),
      minDelayMs: withDefault(milliseconds, 10),
      maxDelayMs: withDefault(milliseconds, 1000),
    }),
    {},
  ),
  preparedStatements: optional(flag),
  debugTransactions: withDefault(flag, false),
  ephemeralTtlMs: withDefault(checkEphemeralTtl, 600_000),
  ephemeralSweepIntervalMs: withDefault(int(0, 86_400_000), 60_000),
  trimming: withDefault(checkTrimming, {}),
  quotas: withDefault(checkQuotas, {}),
  workerConcurrency: withDefault(int(0, 64), 2),
  mediaStorage: optional(checkMediaStorage),
  logger: optional(callable<Logger>()),
  beforeMigration: optional(
    callable<NonNullable<StreamStorageOptions["beforeMigration"]>>(),
  ),
  migrate: withDefault(oneOf("apply", "check", "skip"), "apply"),
} satisfies Record<keyof StreamStorageOptions, unknown>;

function isSchemaName(name: string): boolean {
  const bytes = new TextEncoder().encode(name).length;
  return bytes >= 1 && bytes <= 63 && !name.includes("\0") &&
    !name.startsWith("pg_");
}
