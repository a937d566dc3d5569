/** Checks of the way to a server: poolers, limits, settings of a role. */

import { connectLastingSession } from "../../database/lasting_session.ts";
import { bind } from "../../database/statement.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { fail, ok, orOk, type Result, unknown, warn } from "./diagnosis.ts";
import { type Check, type Look, numberOf } from "./look.ts";
import { selectLimits, selectRoleSettings } from "./server_sql.ts";

/** The process that answers, and the one that the server named at the login. */
export interface PoolerFacts {
  answeredBy: number;
  loggedInTo: number;
}

/** Finds out whether a pooler stands between, and of which kind. */
export async function checkPooler(
  { target, sessionOptions, isStandby, signal }: Look,
  { answeredBy, loggedInTo }: PoolerFacts,
): Promise<Result> {
  if (answeredBy === loggedInTo) return ok("The connection is direct");
  if (isStandby) {
    return unknown("A pooler; on a standby its kind is not visible");
  }
  try {
    await using _ = await connectLastingSession(target, {
      ...sessionOptions,
      signal,
    });
    return ok("A pooler that keeps a session for each connection");
  } catch (error) {
    const isShared = error instanceof StreamStorageError &&
      error.details.reason === "transaction_pooler";
    if (!isShared) throw error;
    return warn(
      "The address leads to a pooler in transaction mode, where no lock holds",
      "Give stores the server's own address as ownershipUrl.",
    );
  }
}

/** The default of `openStreamStorage`. */
const defaultMaxConnections = 10;

const connections: Check = {
  name: "connections",
  async run(look) {
    const [{ rows: [row] }] = await look.ask([bind(selectLimits)]);
    const [role, isSuperuser, ofRole, ofDatabase, used] = row!;
    const ofServer = numberOf(look, "max_connections") -
      numberOf(look, "superuser_reserved_connections") -
      numberOf(look, "reserved_connections");
    const limits: [number, string][] = [[ofServer, "the server"]];
    if (ofDatabase >= 0) limits.push([ofDatabase, "the database"]);
    // PostgreSQL does not apply the limit to superusers.
    if (ofRole >= 0 && !isSuperuser) {
      limits.push([ofRole, `role ${quoted(role)}`]);
    }
    limits.sort(([a], [b]) => a - b);
    const [allowed, by] = limits[0]!;
    const wanted = look.maxConnections ??
      look.stores.length * defaultMaxConnections;
    const results: Result[] = [];
    if (wanted > allowed) {
      results.push(fail(
        `The stores may open ${wanted} connections, ${by} allows ${allowed}`,
        "Lower the stores' maxConnections, share a ConnectionLimit, or raise " +
          "the limit.",
      ));
    }
    if (Number(used) >= ofServer * 0.9) {
      results.push(warn(
        `${used} connections are open, the server allows ${ofServer}`,
        "See pg_stat_activity for their users; raise max_connections.",
      ));
    }
    const found = `${used} open, ${allowed} allowed by ${by}, ` +
      `${wanted} wanted by stores`;
    return orOk(results, found);
  },
};

/**
 * The harm that a setting of a role does to a store, to a node and to tools.
 */
const hurts: Readonly<
  Record<string, { level: "warn" | "fail"; isSet(value: string): boolean }>
> = {
  default_transaction_read_only: { level: "fail", isSet: isOn },
  synchronous_commit: {
    level: "fail",
    isSet: (value) => value === "off" || /^(false|no|0)$/i.test(value),
  },
  statement_timeout: { level: "warn", isSet: isTime },
  transaction_timeout: { level: "warn", isSet: isTime },
  lock_timeout: { level: "warn", isSet: isTime },
  idle_session_timeout: { level: "warn", isSet: isTime },
  idle_in_transaction_session_timeout: { level: "warn", isSet: isTime },
};

function isOn(value: string): boolean {
  return /^(on|true|yes|1)$/i.test(value);
}

function isTime(value: string): boolean {
  return !/^\s*0\D*$/.test(value);
}

const advices: Readonly<Record<string, string>> = {
  default_transaction_read_only: "No store can be opened with it: reset it.",
  synchronous_commit: "A crash loses writes that were acknowledged: reset it.",
};
const otherAdvice =
  "Stores of this package set their own; Go nodes, psql and " +
  "pg_dump are held to it. Reset it for their roles.";

/** The sources of the server's own settings. */
const ownSources: ReadonlySet<string> = new Set([
  "configuration file",
  "command line",
  "environment variable",
]);

/** Checks the settings of the database and of the roles that use the schema. */
export function roleSettings(schema: string | undefined): Check {
  return {
    name: "role_settings",
    async run(look) {
      const [{ rows }] = await look.ask([
        bind(selectRoleSettings, schema ?? ""),
      ]);
      const results = rows.flatMap(([role, isOfDatabase, text]) => {
        const [name, value] = splitSetting(text);
        const where = [
          ...role === "" ? [] : [`role ${quoted(role)}`],
          ...isOfDatabase ? ["this database"] : [],
        ].join(" in ") || "all roles";
        return judged(name, value, where);
      });
      const ofRoles = new Set(rows.map(([, , text]) => splitSetting(text)[0]));
      for (const [name, { value, source }] of look.settings) {
        const isOwn = ownSources.has(source) ||
          // Our own session has set this one, so the source is lost. The value
          // is the server's own unless a role sets it.
          (source === "session" && !ofRoles.has(name));
        // The check of durability reports this one.
        if (isOwn && name !== "synchronous_commit") {
          results.push(...judged(name, value, "the server"));
        }
      }
      return orOk(results, "None that hurts");
    },
  };
}

function judged(name: string, value: string, where: string): Result[] {
  const harm = Object.hasOwn(hurts, name) ? hurts[name] : undefined;
  if (harm === undefined || !harm.isSet(value)) return [];
  const shown = quoted(value, 20);
  return [{
    level: harm.level,
    found: `${name} is ${shown} for ${where}`,
    advice: advices[name] ?? otherAdvice,
  }];
}

function splitSetting(text: string): [name: string, value: string] {
  const at = text.indexOf("=");
  return [text.slice(0, at), text.slice(at + 1)];
}

/** In the order of `checkNames`. */
export const connectionChecks: readonly Check[] = [connections];
