/**
 * The options of `openStreamStorage`, checked all at once: whoever configures
 * a node wants to see every fault, not the first.
 */

import { ConnectionLimit } from "../storage/connection_limit.ts";
import {
  type ConnectionTarget,
  parseConnectionUrl,
  type SslMode,
  type SslOptions,
  type TargetDefaults,
  targetDefaults,
} from "../database/connection_target.ts";
import {
  type ChannelBinding,
  parseRequireAuth,
} from "../database/login/auth_policy.ts";
import {
  type Reach,
  readClusterHosts,
} from "../database/cluster/cluster_hosts.ts";
import type { WhenOwned } from "../database/ownership/options.ts";
import { isStreamStorageError, StreamStorageError } from "../storage/errors.ts";
import type { Logger } from "../telemetry/log_events.ts";
import {
  also,
  callable,
  type Check,
  type Checked,
  type Fault,
  flag,
  int,
  isFunction,
  isObject,
  object,
  oneOf,
  optional,
  Place,
  text,
  textThat,
  that,
  withDefault,
} from "./checks.ts";
import {
  checkMediaStorage,
  type MediaStorageOptions,
} from "./media_options.ts";
import { checkQuotas, type QuotaOptions } from "./quotas.ts";
import { type Setting, type SettingSource, sourceOf } from "./setting.ts";
import type { IsolationLevel } from "./store.ts";
import { checkTrimming, type TrimmingOptions } from "./trimming_options.ts";

/** A session on which a hook can run SQL by the simple query protocol. */
export interface MigrationSession {
  /** Rows of the last statement that returned any, every value as text. */
  script(sql: string): Promise<(string | null)[][]>;
}

/** How often and how fast a transaction is tried again. */
export interface RetryPolicy {
  /** Attempts in all, the first included; 1 to 100. Default 8. */
  attempts?: number;
  /** First delay in milliseconds, jittered, then doubled. Default 10. */
  minDelayMs?: number;
  /** Longest delay in milliseconds. Default 1000. */
  maxDelayMs?: number;
}

/**
 * What `openStreamStorage` needs to know; only `schema` has no default.
 *
 * @example
 * ```ts
 * import type { StreamStorageOptions } from "@towns/stream-storage";
 *
 * const options: StreamStorageOptions = {
 *   url: "postgresql://towns:secret@db.example/towns?sslmode=verify-full",
 *   schema: "streams",
 *   maxConnections: 20,
 *   logger: ({ level, code, message }) => console.log(level, code, message),
 * };
 * ```
 */
export interface StreamStorageOptions {
  /**
   * libpq's connection URI, `postgresql://user:password@host:port/database`,
   * several hosts separated by commas. Instead of it: the fields below; only
   * `password` may stand beside a url that has none.
   */
  url?: string;
  /** Default `localhost`. */
  host?: string;
  /** Default 5432. */
  port?: number;
  /** Needed unless there is a url. */
  user?: string;
  /**
   * Never shown in an error or a log. A function is asked at each login for which
   * the server wants a password, where passwords last for minutes; it should keep
   * what it has fetched, as many logins may come at once. Its time is the
   * connection's, `connect_timeout` of the url or operationTimeoutMs. When it
   * fails, calls are `UNAVAILABLE`; a `StreamStorageError` of its own is passed on.
   * Holds for `url` and for `ownershipUrl` where these have none.
   */
  password?: string | (() => string | Promise<string>);
  /** Default: the user's name. */
  database?: string;
  /**
   * libpq's sslmode, or with certificates, as PEM or as paths of files. Default
   * `prefer`.
   */
  ssl?: SslMode | SslOptions;
  /**
   * libpq's channel_binding: whether SCRAM is bound to the server's certificate,
   * so that nobody can stand between. Default `prefer`.
   */
  channelBinding?: ChannelBinding;
  /**
   * libpq's require_auth: what the server may ask for, such as `scram-sha-256`,
   * or may not, such as `!password,!none`. Default: anything that is supported.
   */
  requireAuth?: string;
  /**
   * Needed when the above leads through a pooler in transaction mode: the URI
   * of a direct connection to the same database, for what lasts longer than a
   * transaction, which is the lock of the schema's owner, its notifications
   * and the migrations. `ssl`, `channelBinding`, `requireAuth` and
   * `applicationName` hold for it, too; `preparedStatements` are off.
   */
  ownershipUrl?: string;
  /**
   * In a Citus cluster whose servers call each other by names that lead nowhere
   * from here: where they are reached, `{ "10.0.0.7:5432": "db-2.example:5432" }`.
   * Default: under those names.
   */
  clusterHosts?: Readonly<Record<string, string>>;
  /** The schema that holds the store: 1 to 63 bytes. */
  schema: string;
  /** Aborts the opening. */
  signal?: AbortSignal;
  /**
   * Partitions per kind of table, 1 to 256, fixed by the first installation;
   * default 256.
   */
  partitions?: number;
  /** Names this process among owners of the schema. Default: a random UUID. */
  instanceId?: string;
  /**
   * What to do with a schema that another instance owns: `take` (default) takes
   * it, as nodes do; `wait` stands by, without a trace, until the owner has closed
   * or died; `fail` rejects (`schema_owned`).
   */
  whenOwned?: WhenOwned;
  /** Connections at most, 3 or more. Default 10. */
  maxConnections?: number;
  /**
   * Milliseconds after which a connection with nothing to do is closed; each kind of
   * work keeps one. 0: never. Default 300 000.
   */
  idleTimeoutMs?: number;
  /** A bound on connections that several stores share. Default: none. */
  connectionLimit?: ConnectionLimit;
  /** Default `read committed`. */
  isolationLevel?: IsolationLevel;
  /** As the server shows it. Default `stream-storage`. */
  applicationName?: string;
  /** Milliseconds for one statement. At most and by default operationTimeoutMs. */
  statementTimeoutMs?: number;
  /**
   * Milliseconds of waiting for a lock that another session holds. Default: a call
   * waits until its deadline, of that a tenth of statementTimeoutMs at a time on
   * the server. If it is set, it should be as short: a transaction that waits on
   * the server keeps others waiting.
   */
  lockTimeoutMs?: number;
  /** Milliseconds for one call, all its attempts included. Default 5000. */
  operationTimeoutMs?: number;
  /** How failed transactions are tried again. */
  retry?: RetryPolicy;
  /**
   * Milliseconds to wait after the lock of a replaced owner was set free, 0 to
   * 3 600 000. Default 2000. An owner that has replaced a live one is left in
   * peace for 15 times as long, so that two that restart do not starve each other.
   */
  startupDelayMs?: number;
  /**
   * False for poolers that change servers between calls: what is to last for
   * the session, statements and settings, is sent with each call instead.
   * Default true, with `ownershipUrl` false.
   */
  preparedStatements?: boolean;
  /** Starts with the ring of recent transactions on. Default false. */
  debugTransactions?: boolean;
  /**
   * Age in milliseconds at which an upload that was not completed is removed.
   * Default 600 000. A function is asked at each look.
   */
  ephemeralTtlMs?: Setting<number>;
  /**
   * Milliseconds between looks for such uploads, 0: only when it is called for.
   * Default 60 000.
   */
  ephemeralSweepIntervalMs?: number;
  /**
   * What the trimmer may remove of streams, and when. Default: nothing. A function
   * is asked at each run, once a minute at least.
   */
  trimming?: Setting<TrimmingOptions>;
  /** Limits on what single streams may grow to. Default: none. */
  quotas?: QuotaOptions;
  /**
   * Workers that run at a time, 0 to 64. With 0 nothing runs in the background
   * and `maintenance` still works. Default 2.
   */
  workerConcurrency?: number;
  /** Where sealed media streams are moved to; default: they stay. */
  mediaStorage?: MediaStorageOptions;
  /** Takes notable events; default: nobody. */
  logger?: Logger;
  /**
   * Runs in a transaction of its own before the first migration, with a
   * search_path of `pg_catalog, pg_temp`: what it makes it names with a schema.
   */
  beforeMigration?: (session: MigrationSession) => Promise<void>;
  /**
   * `apply` (default) migrates, `check` refuses a schema that is not current,
   * `skip` trusts it.
   */
  migrate?: "apply" | "check" | "skip";
}

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
      place.refuse("negotiation direct needs the mode require or more");
    }
    if ((cert === undefined) !== (key === undefined)) {
      place.refuse("cert and key need each other");
    }
    return ssl as SslOptions;
  },
);

/** The options as they are given. */
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
    if (!reach) place.refuse('must be an object of "host:port" by "host:port"');
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
};

const checkOptions = object(optionChecks);

/** Options that may be functions; see setting.ts. */
const settingNames = ["ephemeralTtlMs", "trimming"] as const;

/** The functions that were given for them. */
export type SettingSources = Partial<
  Record<typeof settingNames[number], SettingSource>
>;

/** Options with every default filled in. */
export interface ResolvedOptions extends
  Omit<
    Checked<typeof checkOptions>,
    | "url"
    | "password"
    | "ssl"
    | "channelBinding"
    | "requireAuth"
    | "ownershipUrl"
  > {
  /** Where transactions run. */
  target: ConnectionTarget;
  /** Where sessions last; the same unless that is a pooler's. */
  ownershipTarget: ConnectionTarget;
  preparedStatements: boolean;
  /** Functions that were given instead of values, which are yet to be asked. */
  sources: SettingSources;
  statementTimeoutMs: number;
  /** For one attempt, on the server. */
  lockTimeoutMs: number;
  /** For all attempts. */
  lockWaitMs: number;
}

/** Those that tell where to connect, and how to log in. */
export type ConnectionOptions = Pick<
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
  | "applicationName"
>;

/** What reading needs of them; a reader has no others. */
export type ReadingOptions =
  & Pick<
    ResolvedOptions,
    | "schema"
    | "signal"
    | "target"
    | "ownershipTarget"
    | "clusterHosts"
    | "maxConnections"
    | "idleTimeoutMs"
    | "connectionLimit"
    | "isolationLevel"
    | "preparedStatements"
    | "statementTimeoutMs"
    | "lockTimeoutMs"
    | "lockWaitMs"
    | "operationTimeoutMs"
    | "retry"
    | "mediaStorage"
    | "logger"
  >
  & {
    /** The server is asked to change nothing. */
    isReadOnly?: boolean;
  };

/**
 * Checks options and fills in defaults.
 *
 * @throws {StreamStorageError} BAD_CONFIG, all faults in `details.faults` as
 *   `{ option, message }`; values are never shown.
 */
export function resolveOptions(options: StreamStorageOptions): ResolvedOptions {
  const { values, sources } = withoutSources(options);
  const faults: Fault[] = [];
  const checked = checkOptions(values, new Place([], faults));
  const isChecked = faults.length === 0;
  const target = ownersTarget(
    "url",
    connectionTarget(options ?? {}, faults),
    faults,
  );
  if (isChecked) checkObjectNames(checked, faults);
  const direct = ownershipTarget(options ?? {}, faults);
  if (target === undefined || faults.length > 0) throw badConfig(faults);
  const {
    url: _url,
    password: _password,
    ssl: _ssl,
    channelBinding: _channelBinding,
    requireAuth: _requireAuth,
    ownershipUrl: _ownershipUrl,
    ...rest
  } = checked;
  return {
    ...rest,
    ...timeoutsOf(rest),
    sources,
    target,
    ownershipTarget: direct ?? target,
    preparedStatements: rest.preparedStatements ?? direct === undefined,
  };
}

/** The functions apart: what they give is checked when they are asked. */
function withoutSources(
  options: StreamStorageOptions,
): { values: unknown; sources: SettingSources } {
  const sources: SettingSources = {};
  const values: Record<string, unknown> = { ...options };
  for (const name of settingNames) {
    const source = sourceOf(values[name]);
    if (source === undefined) continue;
    sources[name] = source;
    delete values[name];
  }
  const isObject = typeof options === "object" && options !== null;
  return { values: isObject ? values : options, sources };
}

/** What the server is told of the time that a call has. */
export function timeoutsOf(
  options: Pick<
    Checked<typeof checkOptions>,
    "operationTimeoutMs" | "statementTimeoutMs" | "lockTimeoutMs"
  >,
): Pick<ReadingOptions, "statementTimeoutMs" | "lockTimeoutMs" | "lockWaitMs"> {
  const { operationTimeoutMs, lockTimeoutMs } = options;
  const statementTimeoutMs = Math.min(
    options.statementTimeoutMs ?? Infinity,
    operationTimeoutMs,
  );
  return {
    statementTimeoutMs,
    lockTimeoutMs: lockTimeoutMs ?? Math.ceil(statementTimeoutMs / 10),
    lockWaitMs: lockTimeoutMs ?? operationTimeoutMs,
  };
}

/** In an address such a part of a name would be lost. */
export function checkObjectNames(
  { schema, mediaStorage }: { schema: string; mediaStorage?: unknown },
  faults: Fault[],
): void {
  if (mediaStorage === undefined || !/(^|\/)\.{0,2}(\/|$)/.test(schema)) return;
  faults.push({
    option: "schema",
    message: "can't name objects of mediaStorage, an empty part or dots alone",
  });
}

/** The error that tells them all. */
export function badConfig(
  faults: readonly Fault[],
  operation = "openStreamStorage",
  cause?: unknown,
): StreamStorageError {
  const list = faults.map(({ option, message }) => `${option}: ${message}`);
  return new StreamStorageError({
    code: "BAD_CONFIG",
    operation,
    message: `Options are not valid: ${list.join("; ")}`,
    details: { reason: "bad_options", faults },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Where the options lead to; undefined with faults. */
export function connectionTarget(
  options: ConnectionOptions,
  faults: Fault[],
  defaults?: TargetDefaults,
): ConnectionTarget | undefined {
  const { url, host, port, user, database } = options;
  const fields = { host, port, user, database };
  const given = Object.entries(fields).filter(([, value]) =>
    value !== undefined
  ).map(([name]) => name);
  if (url === undefined && user === undefined) {
    faults.push({ option: "url", message: "is needed, or user and host" });
    return undefined;
  }
  if (url !== undefined && given.length > 0) {
    faults.push({ option: given.join(", "), message: "can't stand with url" });
    return undefined;
  }
  if (typeof url === "string") {
    return parsedTarget({ option: "url", url, defaults }, options, faults);
  }
  return withOptions({
    ...targetDefaults,
    hosts: [{ host: host ?? "localhost", port: port ?? 5432 }],
    user: user ?? "",
    password: "",
    database: database ?? user ?? "",
    ...defaults,
  }, options);
}

function ownershipTarget(
  options: StreamStorageOptions,
  faults: Fault[],
): ConnectionTarget | undefined {
  const { ownershipUrl, preparedStatements } = options;
  if (typeof ownershipUrl !== "string") return undefined;
  if (preparedStatements === true) {
    // A name could mean another client's statement, and run it.
    const message = "must be false with ownershipUrl";
    faults.push({ option: "preparedStatements", message });
  }
  const option = "ownershipUrl";
  const target = parsedTarget({ option, url: ownershipUrl }, options, faults);
  return ownersTarget(option, target, faults);
}

/** Who owns a schema writes, and has to be where that can be done. */
function ownersTarget(
  option: string,
  target: ConnectionTarget | undefined,
  faults: Fault[],
): ConnectionTarget | undefined {
  switch (target?.sessionAttrs) {
    case "standby":
    case "prefer-standby":
      faults.push({
        option,
        message: "target_session_attrs must be any, read-write or primary: " +
          "a standby is for openStreamReader",
      });
      return undefined;
    case "primary":
      return { ...target, sessionAttrs: "read-write" };
    default:
      return target;
  }
}

function parsedTarget(
  { option, url, defaults }: {
    option: string;
    url: string;
    defaults?: TargetDefaults | undefined;
  },
  options: ConnectionOptions,
  faults: Fault[],
): ConnectionTarget | undefined {
  try {
    const target = parseConnectionUrl(url, defaults);
    const isDouble = target.password !== "" && options.password !== undefined;
    if (option === "url" && isDouble) {
      const message = "can't stand with a url that has one";
      faults.push({ option: "password", message });
    }
    return withOptions(target, options);
  } catch (error) {
    if (!isStreamStorageError(error)) throw error;
    faults.push({ option, message: error.message });
    return undefined;
  }
}

/** Options of their own count for more than what a URL says. */
function withOptions(
  target: ConnectionTarget,
  options: ConnectionOptions,
): ConnectionTarget {
  const { password, ssl, channelBinding, requireAuth, applicationName } =
    options;
  return {
    ...target,
    password: target.password === "" ? password ?? "" : target.password,
    ...sslOf(ssl),
    ...(channelBinding === undefined ? {} : { channelBinding }),
    ...(typeof requireAuth === "string" &&
      { requireAuth: parseRequireAuth(requireAuth) }),
    ...(applicationName === undefined ? {} : { applicationName }),
  };
}

function sslOf(
  ssl: SslMode | SslOptions | undefined,
): { ssl?: SslOptions } {
  if (ssl === undefined) return {};
  return { ssl: typeof ssl === "string" ? { mode: ssl } : ssl };
}

function isSchemaName(name: string): boolean {
  const bytes = new TextEncoder().encode(name).length;
  return bytes >= 1 && bytes <= 63 && !name.includes("\0") &&
    !name.startsWith("pg_");
}
