/** What a check has found. */

/** One of the checks. */
export type CheckName =
  | "address"
  | "permissions"
  | "runtime"
  | "server"
  | "clock"
  | "durability"
  | "pooler"
  | "connections"
  | "role_settings"
  | "lock_table"
  | "notifications"
  | "replication_slots"
  | "wraparound"
  | "cluster"
  | "versions"
  | "distribution"
  | "tables"
  | "indexes"
  | "dead_rows"
  | "publications"
  | "rights"
  | "owner";

/** The checks, in the order in which they are told. */
export const checkNames: readonly CheckName[] = [
  "address",
  "permissions",
  "runtime",
  "server",
  "clock",
  "durability",
  "pooler",
  "connections",
  "role_settings",
  "lock_table",
  "notifications",
  "replication_slots",
  "wraparound",
  "cluster",
  "versions",
  "distribution",
  "tables",
  "indexes",
  "dead_rows",
  "publications",
  "rights",
  "owner",
];

/**
 * `fail`: data or service are in danger; `warn`: it will hurt one day; `unknown`:
 * this role, or this server, does not let us look.
 */
export type DiagnosisLevel = "ok" | "warn" | "fail" | "unknown";

/** What a check has found; a check may find several things. */
export interface Diagnosis {
  /** Which check. */
  check: CheckName;
  /** How bad it is. */
  level: DiagnosisLevel;
  /** What was found. */
  found: string;
  /** What to do; none where all is well. */
  advice?: string;
}

/** A diagnosis without the name of its check. */
export type Result = Omit<Diagnosis, "check">;

/** All is well. */
export function ok(found: string): Result {
  return { level: "ok", found };
}

/** It will hurt one day. */
export function warn(found: string, advice: string): Result {
  return { level: "warn", found, advice };
}

/** Data or service are in danger. */
export function fail(found: string, advice: string): Result {
  return { level: "fail", found, advice };
}

/** Nobody lets us look. */
export function unknown(found: string): Result {
  return { level: "unknown", found };
}

/** What was found, or that all is well. */
export function orOk(results: Result[], found: string): Result[] {
  return results.length > 0 ? results : [ok(found)];
}

/** The first few of a list, and how many others there are. */
export function few(names: readonly string[], max = 3): string {
  const shown = names.slice(0, max).join(", ");
  const others = names.length - max;
  return others > 0 ? `${shown} and ${others} more` : shown;
}
