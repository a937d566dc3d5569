/** The options of `openStreamStorage`. */

import type { ConnectionLimit } from "../storage/connection_limit.ts";
import type { SslMode, SslOptions } from "../database/connection_target.ts";
import type { ChannelBinding } from "../database/login/auth_policy.ts";
import type { WhenOwned } from "../database/ownership/options.ts";
import type { Logger } from "../telemetry/log_events.ts";
import type { MediaStorageOptions } from "./media_options.ts";
import type { QuotaOptions } from "./quotas.ts";
import type { Setting } from "./setting.ts";
import type { IsolationLevel } from "./store.ts";
import type { TrimmingOptions } from "./trimming_options.ts";

/** A session on which a hook can run SQL by the simple query protocol. */
export interface MigrationSession {
  /** Returns the rows of the last statement that has any, values as text. */
  script(sql: string): Promise<(string | null)[][]>;
}

/** How often, and after which delays, a transaction is tried again. */
export interface RetryPolicy {
  /** Attempts, the first included; 1 to 100. Default 8. */
  attempts?: number;
  /** First delay in milliseconds, jittered, then doubled. Default 10. */
  minDelayMs?: number;
  /** Longest delay in milliseconds. Default 1000. */
  maxDelayMs?: number;
}

/**
 * The options of `openStreamStorage`; only `schema` has no default.
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
   * with commas between several hosts. Alternatively, use the fields below; a
   * URL without a password may be combined with `password`.
   */
  url?: string;
  /** Default `localhost`. */
  host?: string;
  /** Default 5432. */
  port?: number;
  /** Needed without a url. */
  user?: string;
  /**
   * Never shown in an error or a log. For passwords that last for minutes, give
   * a function. The store calls it at each login for which the server wants a
   * password. The function should keep its result, because many logins may come
   * at once. It counts towards the time for connecting: `connect_timeout` of the
   * url (default 10 seconds), or, if that is less, the part of
   * operationTimeoutMs that each host has. If it fails, calls are `UNAVAILABLE`; a
   * `StreamStorageError` that it throws is passed on. Applies to `url` and
   * `ownershipUrl` where these have no password.
   */
  password?: string | (() => string | Promise<string>);
  /** Default: the user's name. */
  database?: string;
  /**
   * libpq's sslmode, or an object with certificates, as PEM or as paths of
   * files. Default `prefer`.
   */
  ssl?: SslMode | SslOptions;
  /**
   * libpq's channel_binding: whether SCRAM is bound to the server's
   * certificate, which keeps a man in the middle out. Default `prefer`.
   */
  channelBinding?: ChannelBinding;
  /**
   * libpq's require_auth: the methods that the server may ask for, such as
   * `scram-sha-256`, or may not, such as `!password,!none`. Default: any that
   * is supported.
   */
  requireAuth?: string;
  /**
   * Needed if the above leads through a pooler in transaction mode: the URI of
   * a direct connection to the same database. It serves what lasts longer than
   * a transaction: the lock of the schema's owner, its notifications, and the
   * migrations. `ssl`, `channelBinding`, `requireAuth` and `applicationName`
   * apply to it, too; `preparedStatements` are off.
   */
  ownershipUrl?: string;
  /**
   * For a Citus cluster whose servers call each other by names that do not work
   * from here: their addresses, `{ "10.0.0.7:5432": "db-2.example:5432" }`.
   * Default: the servers' own names.
   */
  clusterHosts?: Readonly<Record<string, string>>;
  /** The schema that holds the store: 1 to 63 bytes. */
  schema: string;
  /** Aborts the opening. */
  signal?: AbortSignal;
  /** Partitions of each kind, 1 to 256, fixed at installation. Default 256. */
  partitions?: number;
  /** Names this process among owners of the schema. Default: a random UUID. */
  instanceId?: string;
  /**
   * What to do with a schema that another instance owns. `take` (default) takes
   * it, as nodes do. `wait` stands by, without a trace, until the owner has
   * closed or died. `fail` rejects (`schema_owned`).
   */
  whenOwned?: WhenOwned;
  /** Connections at most, 3 or more. Default 10. */
  maxConnections?: number;
  /**
   * Milliseconds after which an idle connection is closed; each kind of work
   * keeps one. 0: never. Default 300 000.
   */
  idleTimeoutMs?: number;
  /** A limit on connections that several stores share. Default: none. */
  connectionLimit?: ConnectionLimit;
  /** Default `read committed`. */
  isolationLevel?: IsolationLevel;
  /** The name that the server shows. Default `stream-storage`. */
  applicationName?: string;
  /** Milliseconds for a statement. Default and maximum: operationTimeoutMs. */
  statementTimeoutMs?: number;
  /**
   * Milliseconds of waiting for a lock that another session holds. Default: a
   * call waits until its deadline, for a tenth of statementTimeoutMs at a time
   * on the server. A value of your own should be as short, because a
   * transaction that waits on the server keeps others waiting.
   */
  lockTimeoutMs?: number;
  /** Milliseconds for one call, all its attempts included. Default 5000. */
  operationTimeoutMs?: number;
  /** How failed transactions are tried again. */
  retry?: RetryPolicy;
  /**
   * Milliseconds to wait after a replaced owner's lock was released, 0 to 3 600
   * 000. Default 2000. An owner that has replaced a live one is not replaced
   * for 15 times as long, so that two instances that restart do not starve each
   * other.
   */
  startupDelayMs?: number;
  /**
   * False for poolers that change servers between calls. Statements and
   * settings, which would last for a session, are then sent with each call.
   * Default true, with `ownershipUrl` false.
   */
  preparedStatements?: boolean;
  /** Starts with the ring of recent transactions on. Default false. */
  debugTransactions?: boolean;
  /**
   * Age in milliseconds at which an upload that was not completed is removed.
   * Default 600 000. A function is called at each look.
   */
  ephemeralTtlMs?: Setting<number>;
  /**
   * Milliseconds between looks for such uploads. 0: only when `maintenance` is
   * called. Default 60 000.
   */
  ephemeralSweepIntervalMs?: number;
  /**
   * What the trimmer may remove of streams, and when. Default: nothing. A
   * function is called at each run, at least once a minute.
   */
  trimming?: Setting<TrimmingOptions>;
  /** Limits on the growth of single streams. Default: none. */
  quotas?: QuotaOptions;
  /**
   * Workers that run at a time, 0 to 64. With 0 nothing runs in the background
   * and `maintenance` still works. Default 2.
   */
  workerConcurrency?: number;
  /** Where sealed media streams are moved. Default: nowhere. */
  mediaStorage?: MediaStorageOptions;
  /** Receives notable events. Default: none. */
  logger?: Logger;
  /**
   * Runs in a transaction of its own before the first migration. Its
   * search_path is `pg_catalog, pg_temp`, so it must qualify the names of what
   * it creates.
   */
  beforeMigration?: (session: MigrationSession) => Promise<void>;
  /**
   * `apply` (default) migrates, `check` refuses a schema that is not current,
   * `skip` trusts it.
   */
  migrate?: "apply" | "check" | "skip";
}
