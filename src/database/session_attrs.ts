/**
 * Which servers a session may use: libpq's `target_session_attrs` (PostgreSQL
 * documentation, "Parameter Key Words"), without `read-only`, which says
 * nothing about a session that itself asks to be read-only.
 */

/** See the head of this file. */
export const sessionAttrs = [
  "any",
  "read-write",
  "primary",
  "standby",
  "prefer-standby",
] as const;

/** One of {@linkcode sessionAttrs}. */
export type SessionAttrs = typeof sessionAttrs[number];

/**
 * What each round over the hosts looks for: a standby is preferred if all hosts
 * are asked for one before any other server is accepted.
 */
export function roundsOf(attrs: SessionAttrs): readonly SessionAttrs[] {
  return attrs === "prefer-standby" ? ["standby", "any"] : [attrs];
}

/** Why the server does not fit; undefined if it fits. */
export function misfitOf(
  attrs: SessionAttrs,
  { takesWrites, isStandby }: { takesWrites: boolean; isStandby: boolean },
): string | undefined {
  switch (attrs) {
    case "read-write":
      return takesWrites ? undefined : "The server is read-only";
    case "primary":
      return isStandby ? "The server is a standby" : undefined;
    case "standby":
      return isStandby ? undefined : "The server is not a standby";
    default:
      return undefined;
  }
}

/**
 * Whether a session is useless once its server reports this. A promoted standby
 * keeps answering sessions that prefer a standby.
 */
export function isMisfit(
  attrs: SessionAttrs,
  parameter: string | undefined,
  value: string | undefined,
): boolean {
  if (parameter === "in_hot_standby") {
    if (attrs === "standby") return value === "off";
    return (attrs === "primary" || attrs === "read-write") && value === "on";
  }
  if (parameter === "default_transaction_read_only") {
    return attrs === "read-write" && value === "on";
  }
  return false;
}
