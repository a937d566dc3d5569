/**
 * The state of a store or a reader, from what it already knows: plain data,
 * equal to its JSON.
 */

import type { DatabaseHealth } from "./database_health.ts";
import type { OwnershipState, OwnershipWatch } from "./ownership_watch.ts";

/** The states of a store or a reader; it works only in `ready`. */
export type HealthState =
  /** It is being opened, or stands by until the schema's owner is gone. */
  | "opening"
  /** It owns its schema, as far as it needs to, and the database answers. */
  | "ready"
  /** Connections to the database fail, or no answer has come lately. */
  | "unavailable"
  /** The session that holds the owner's lock broke and is being replaced. */
  | "recovering"
  /** It has given up its ownership, and only reads. */
  | "released"
  /** Another instance owns the schema now: restart this one. */
  | "lost"
  /** It is closed, or being closed. */
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

/** The contents of the write queue. */
export interface QueueState {
  /** Writes that wait. */
  readonly writes: number;
  /** The bytes of their payload. */
  readonly bytes: number;
  /** Write transactions in flight. */
  readonly busySlots: number;
}

/** The health of a store or a reader. */
export interface StorageHealth {
  /** Whether it can be used: `state` is `ready`. */
  readonly ready: boolean;
  /** The state in one word. */
  readonly state: HealthState;
  /** Whether the database answers. */
  readonly database: DatabaseState;
  /** Only for a store in PostgreSQL: who owns the schema. */
  readonly ownership?: OwnershipState;
  /** Only for a store in PostgreSQL: the writes that wait. */
  readonly queue?: QueueState;
  /** When this state began, in ISO 8601. */
  readonly since: string;
}

/** Anything that has a health: a store, a reader, a `MemoryStreamStorage`. */
export interface HealthSource {
  /** The present health, without asking the database. */
  health(): StorageHealth;
}

/** What is known of a store; times are those of `performance.now()`. */
export interface HealthFacts {
  namespace: string;
  database: DatabaseHealth;
  ownership: OwnershipWatch | undefined;
  queue: QueueState | undefined;
  /** When closing began. */
  closedAt: number | undefined;
}

/** Builds the health from the facts. */
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

/** The worst state that applies: first those that only a restart ends. */
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
