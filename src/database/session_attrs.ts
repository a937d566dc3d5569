/**
 * Which of several servers a session may be at: libpq's `target_session_attrs`
 * (PostgreSQL documentation, "Parameter Key Words"), without `read-only`, which
 * says of a session that asks for that itself nothing at all.
 */

import type { ServerFacts } from "./current_server.ts";

/** See the file's head. */
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
 * What is looked for in one round over the hosts after the other: a standby is
 * preferred if all hosts were asked before any other is taken.
 */
export function roundsOf(attrs: SessionAttrs): readonly SessionAttrs[] {
  return attrs === "prefer-standby" ? ["standby", "any"] : [attrs];
}

/** What speaks against the server; undefined: nothing does. */
export function misfitOf(
  attrs: SessionAttrs,
  { takesWrites, isStandby }: ServerFacts,
): string | undefined {
  switch (attrs) {
    case "read-write":
      return takesWrites ? undefined : "The server is read-only";
    case "primary":
      return isStandby ? "The server is a standby" : undefined;
    case "standby":
      return isStandby ? undefined : "The server is no standby";
    default:
      return undefined;
  }
}

/**
 * Whether a session is of no more use once its server reports this. A standby
 * that was promoted goes on answering those who prefer one.
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
