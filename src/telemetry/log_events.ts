/**
 * The table of log events. An event is logged once per cause, not once per
 * failed call: an outage is one event when it begins and one when it ends,
 * which says what it has cost.
 */

/** How much an event matters. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Every event, by its code. */
export const logEvents = {
  migration_warning: {
    level: "warn",
    meaning: "A migration found something to check; logged once for each",
  },
  ownership_takeover: {
    level: "warn",
    meaning: "This instance replaces the row of another one, live or dead",
  },
  ownership_standby: {
    level: "info",
    meaning:
      "Another instance owns the schema, and this one stands by; names the owner, and is logged again when that changes",
  },
  ownership_contended: {
    level: "warn",
    meaning:
      "The owner has just taken the schema from another live instance; this one waits as long as stated before it does the same",
  },
  ownership_lock_held: {
    level: "warn",
    meaning:
      "Another session has held the owner's lock for 5 seconds or more; names the session, and is logged again when that changes and once a minute",
  },
  ownership_write_ended: {
    level: "warn",
    meaning: "A write of the last owner lost its client halfway and was ended",
  },
  ownership_taken: {
    level: "info",
    meaning: "This instance owns the schema",
  },
  ownership_epoch_raised: {
    level: "info",
    meaning:
      "A write lost its answer or was held up; from now on it can no longer be committed",
  },
  ownership_session_lost: {
    level: "warn",
    meaning:
      "The session that holds the owner's lock, or waits for it, broke; writes stay safe",
  },
  ownership_session_retry: {
    level: "warn",
    meaning: "The lock session could not be restored at the first attempt",
  },
  ownership_session_back: {
    level: "info",
    meaning: "The lock session is back; gives the number of failed attempts",
  },
  ownership_lost: {
    level: "error",
    meaning: "Another instance owns the schema now; this one must stop",
  },
  ownership_released: {
    level: "info",
    meaning:
      "This instance has given up the schema without closing, and only reads from now on",
  },
  commits_may_be_lost: {
    level: "warn",
    meaning:
      "The server is on a new timeline: another server was promoted, and commits that had not reached it are lost; gives the old and the new timeline",
  },
  schema_moved: {
    level: "info",
    meaning:
      "The schema was moved to another server of the cluster, and the store goes on there; says from where to where, and for how many milliseconds it was looked for",
  },
  connection_lost: {
    level: "warn",
    meaning: "A connection broke; logged once until a new one is made",
  },
  database_unavailable: {
    level: "error",
    meaning: "A connection could not be made; logged once until one is made",
  },
  database_available: {
    level: "info",
    meaning:
      "A connection was made again; gives the time without one, the numbers of failed attempts and calls, and how many of these have an unknown outcome",
  },
  writes_refused: {
    level: "error",
    meaning:
      "The database takes no writes (read-only, disk full, out of memory); logged once until one is committed",
  },
  writes_accepted: {
    level: "info",
    meaning: "A write was committed again; gives the number of refused writes",
  },
  overloaded: {
    level: "warn",
    meaning:
      "A queue is full and calls are refused; logged once until it is half empty",
  },
  overload_over: {
    level: "info",
    meaning:
      "The queues are less than half full; gives the number of refused calls",
  },
  worker_ran: {
    level: "debug",
    meaning: "A run of a worker had something to do; logged once for each",
  },
  worker_failed: {
    level: "warn",
    meaning: "A run of a worker failed; logged once until one succeeds",
  },
  worker_suspended: {
    level: "error",
    meaning: "A worker keeps failing and runs less often",
  },
  worker_streams_failed: {
    level: "warn",
    meaning:
      "A run failed for some streams, which the next run tries again; logged once a run",
  },
  quota_near: {
    level: "warn",
    meaning:
      "A stream approaches a quota; logged each time it crosses `warnAt`",
  },
  setting_refused: {
    level: "warn",
    meaning:
      "A function for an option failed or returned an invalid value; the last valid value stays in force, and this is logged once until the function returns a valid one",
  },
  trimming_refused: {
    level: "warn",
    meaning: "A stream is not trimmed because of a gap or a missing snapshot",
  },
  worker_recovered: {
    level: "info",
    meaning: "A run succeeded again; gives the number of failed runs",
  },
} as const satisfies Record<string, { level: LogLevel; meaning: string }>;

/** The codes of log events. */
export type LogCode = keyof typeof logEvents;

/** A notable event of the storage. */
export interface LogEvent {
  /** How much it matters. */
  level: LogLevel;
  /** A stable snake_case word for what happened. */
  code: LogCode;
  /** A sentence for people; its text may change. */
  message: string;
  /** Plain data; never a payload, a password or a key. */
  details?: Record<string, unknown>;
}

/**
 * Receives the storage's notable events; errors that it throws are ignored.
 *
 * @example One line of JSON for each event.
 * ```ts
 * import type { Logger } from "@towns/stream-storage";
 *
 * const logger: Logger = (event) => console.log(JSON.stringify(event));
 * ```
 */
export type Logger = (event: LogEvent) => void;
