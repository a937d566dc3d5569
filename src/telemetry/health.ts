/**
 * How a store or a reader is doing, as it knows without asking: plain data, the
 * same as JSON.
 */

import type { DatabaseHealth } from "./database_health.ts";
import type { OwnershipState, OwnershipWatch } from "./ownership_watch.ts";

/** The states of a store or a reader; only `ready` is one in which it works. */
export type HealthState =
  /** It is being opened, or stands by until the schema's owner is gone. */
  | "opening"
  /** It owns its schema, as far as it needs to, and the database answers. */
  | "ready"
  /** Connections to the database fail, or nothing has come from it lately. */
  | "unavailable"
  /** The session that holds the owner's lock broke; it is made again. */
  | "recovering"
  /** It has given its ownership up, and only reads. */
  | "released"
  /** Another instance owns the schema now: this one must be started anew. */
  | "lost"
  /** It was closed, or is being closed. */
  | "closed"
  /** It could not be opened. */
  | "failed";

/** Whether the database answers. */
export interface DatabaseState {
  /** Database and schema, as `db.namespace` has it; not in memory. */
  readonly namespace?: string;
  /** Connections do not fail, and an answer has come lately. */
  readonly available: boolean;
  /** When the last answer came, in ISO 8601. */
  readonly answeredAt?: string;
}

/** What waits in the write queue. */
export interface QueueState {
  /** Writes that wait. */
  readonly writes: number;
  /** Their payload. */
  readonly bytes: number;
  /** Write transactions in flight. */
  readonly busySlots: number;
}

/** How a store or a reader is doing. */
export interface StorageHealth {
  /** Whether it can be used: `state` is `ready`. */
  readonly ready: boolean;
  /** The one word for it. */
  readonly state: HealthState;
  /** Whether the database answers. */
  readonly database: DatabaseState;
  /** Of a store in PostgreSQL: who owns the schema. */
  readonly ownership?: OwnershipState;
  /** Of a store in PostgreSQL: what waits to be written. */
  readonly queue?: QueueState;
  /** Since when it is in this state, in ISO 8601. */
  readonly since: string;
}

/** Whatever has a health: a store, a reader, a `MemoryStreamStorage`. */
export interface HealthSource {
  /** How it is doing; asks nobody. */
  health(): StorageHealth;
}

/** What is known of a store, in the time of `performance.now()`. */
export interface HealthFacts {
  namespace: string;
  database: DatabaseHealth;
  ownership: OwnershipWatch | undefined;
  queue: QueueState | undefined;
  /** When it was told to close. */
  closedAt: number | undefined;
}

/** Puts it together. */
export function healthOf(facts: HealthFacts): StorageHealth {
  const { namespace, database, ownership, queue } = facts;
  const now = performance.now();
  const { state, since } = stateOf(facts, now);
  const { answeredAt } = database;
  return {
    ready: state === "ready",
    state,
    database: {
      namespace,
      available: database.isAnswering(now),
      ...(answeredAt !== undefined && { answeredAt: isoOf(answeredAt, now) }),
    },
    ...(ownership && { ownership: ownership.state }),
    ...(queue && { queue }),
    since: isoOf(since, now),
  };
}

/** The worst that holds: what only a restart mends comes first. */
function stateOf(
  { database, ownership, closedAt }: HealthFacts,
  now: number,
): { state: HealthState; since: number } {
  if (closedAt !== undefined) return { state: "closed", since: closedAt };
  const owned = ownership?.since ?? 0;
  if (ownership?.state === "stopped") return { state: "lost", since: owned };
  const changed = database.answeringSince(now);
  if (!database.isAnswering(now)) {
    return { state: "unavailable", since: changed };
  }
  switch (ownership?.state) {
    case "recovering":
    case "released":
      return { state: ownership.state, since: owned };
    case "waiting":
    case "standby":
      return { state: "opening", since: owned };
  }
  return { state: "ready", since: Math.max(owned, changed) };
}

function isoOf(at: number, now: number): string {
  return new Date(Date.now() + at - now).toISOString();
}
