/** The results of checks, as the doctor reports them. */

/** The name of a check. */
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

/** The checks, in the order in which the report lists them. */
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
 * `fail`: data or service are in danger. `warn`: there will be harm one day.
 * `unknown`: this role may not look, or this server can't show it.
 */
export type DiagnosisLevel = "ok" | "warn" | "fail" | "unknown";

/** One result of a check; a check may have several. */
export interface Diagnosis {
  /** The check. */
  check: CheckName;
  /** How serious it is. */
  level: DiagnosisLevel;
  /** What was found. */
  found: string;
  /** What to do; absent if all is well. */
  advice?: string;
}

/** A diagnosis without the name of its check. */
export type Result = Omit<Diagnosis, "check">;

/** A result for: all is well. */
export function ok(found: string): Result {
  return { level: "ok", found };
}

/** A result for: there will be harm one day. */
export function warn(found: string, advice: string): Result {
  return { level: "warn", found, advice };
}

/** A result for: data or service are in danger. */
export function fail(found: string, advice: string): Result {
  return { level: "fail", found, advice };
}

/** A result for: this role or this server does not let us look. */
export function unknown(found: string): Result {
  return { level: "unknown", found };
}

/** Returns the results, or `ok` if there are none. */
export function orOk(results: Result[], found: string): Result[] {
  return results.length > 0 ? results : [ok(found)];
}

/** The first few of a list, and how many others there are. */
export function few(names: readonly string[], max = 3): string {
  const shown = names.slice(0, max).join(", ");
  const others = names.length - max;
  return others > 0 ? `${shown} and ${others} more` : shown;
}
