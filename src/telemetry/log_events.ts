/**
 * The table of log events. A code is told once per cause, not once per call
 * that meets it: an outage is one event when it begins and one when it ends,
 * which says how much it has cost.
 */

/** How much an event matters. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Every event, by its code. */
export const logEvents = {
  migration_warning: {
    level: "warn",
    meaning: "Migration found something to look at; once for each",
  },
  ownership_takeover: {
    level: "warn",
    meaning: "This instance replaces the row of another one, live or dead",
  },
  ownership_standby: {
    level: "info",
    meaning:
      "Another instance owns the schema, this one stands by; says which, again when that changes",
  },
  ownership_contended: {
    level: "warn",
    meaning:
      "The owner has just taken the schema from another live one; this one waits before it does the same, for as long as it says",
  },
  ownership_lock_held: {
    level: "warn",
    meaning:
      "Another session has held the owner's lock for 5 seconds or more; says which, again when that changes and once a minute",
  },
  ownership_write_ended: {
    level: "warn",
    meaning:
      "A write of the last owner lost its client in the middle and was ended",
  },
  ownership_taken: {
    level: "info",
    meaning: "This instance owns the schema",
  },
  ownership_epoch_raised: {
    level: "info",
    meaning:
      "A write had lost its answer, or was held up; nothing of it can come any more",
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
    meaning: "The lock session is back; says after how many failed attempts",
  },
  ownership_lost: {
    level: "error",
    meaning: "Another instance owns the schema now, this one must stop",
  },
  ownership_released: {
    level: "info",
    meaning:
      "This instance has given up the schema without closing, it only reads from now on",
  },
  commits_may_be_lost: {
    level: "warn",
    meaning:
      "The server is on a new timeline: another one was promoted, and commits that it had not got are lost; says from which timeline to which",
  },
  connection_lost: {
    level: "warn",
    meaning: "A connection broke; once until a new one is made",
  },
  database_unavailable: {
    level: "error",
    meaning: "A connection could not be made; once until one is made",
  },
  database_available: {
    level: "info",
    meaning:
      "A connection was made again; says for how long none was, how many attempts and calls failed, and how many of these have an unknown outcome",
  },
  writes_refused: {
    level: "error",
    meaning:
      "The database takes no writes (read-only, disk full, out of memory); once until one is committed",
  },
  writes_accepted: {
    level: "info",
    meaning: "A write was committed again; says how many were refused",
  },
  overloaded: {
    level: "warn",
    meaning:
      "A queue is full and calls are refused; once until it is half empty",
  },
  overload_over: {
    level: "info",
    meaning: "The queues are less than half full; says how many were refused",
  },
  worker_ran: {
    level: "debug",
    meaning: "A run of a worker had something to do; once for each",
  },
  worker_failed: {
    level: "warn",
    meaning: "A run of a worker failed; once until one succeeds",
  },
  worker_suspended: {
    level: "error",
    meaning: "A worker failed again and again and runs less often",
  },
  worker_streams_failed: {
    level: "warn",
    meaning:
      "A run could not deal with some streams, the next tries again; once a run",
  },
  quota_near: {
    level: "warn",
    meaning: "A stream comes near a quota; once each time it crosses `warnAt`",
  },
  setting_refused: {
    level: "warn",
    meaning:
      "A function that gives an option failed or gave what can't be taken, the last good value holds; once until it gives a good one",
  },
  trimming_refused: {
    level: "warn",
    meaning:
      "A stream is not trimmed because of a gap or a snapshot that is missing",
  },
  worker_recovered: {
    level: "info",
    meaning: "A run succeeded again; says how many have failed",
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
  /** The same for people; its text may change. */
  message: string;
  /** Plain data; never a payload, a password or a key. */
  details?: Record<string, unknown>;
}

/**
 * Takes the storage's notable events; what it throws is ignored.
 *
 * @example One line of JSON for each.
 * ```ts
 * import type { Logger } from "@towns/stream-storage";
 *
 * const logger: Logger = (event) => console.log(JSON.stringify(event));
 * ```
 */
export type Logger = (event: LogEvent) => void;
