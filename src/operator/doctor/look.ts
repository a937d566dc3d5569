/** The view of a server that the checks of the server and of a schema share. */

import type { ConnectionTarget } from "../../database/connection_target.ts";
import type { Session } from "../../database/session.ts";
import type { SessionOptions } from "../../database/session.ts";
import {
  bind,
  type Bound,
  type ResultsOf,
  statement,
} from "../../database/statement.ts";
import type { CheckName, Result } from "./diagnosis.ts";

/** The view of one run of the doctor. */
export interface Look {
  session: Session;
  sessionOptions: SessionOptions;
  target: ConnectionTarget;
  /** Whether the server is a hot standby, which can't show everything. */
  isStandby: boolean;
  /** Whether the database belongs to a Citus cluster. */
  hasCitus: boolean;
  /**
   * Connections of all stores on this server together; undefined: not given.
   */
  maxConnections: number | undefined;
  /** The schemas of the stores in this database. */
  stores: readonly string[];
  signal: AbortSignal | undefined;
  /** The server's settings as our role gets them, by name. */
  settings: ReadonlyMap<string, Setting>;
  /** Runs statements as one transaction that waits for no lock for long. */
  ask<const B extends readonly Bound[]>(bound: B): Promise<ResultsOf<B>>;
}

/** A setting of the server. */
export interface Setting {
  value: string;
  /**
   * The source as pg_settings names it: `default`, `configuration file`,
   * `user`…
   */
  source: string;
}

/** A check of the server or of a schema. */
export interface Check<L = Look> {
  name: CheckName;
  run(look: L): Promise<Result[]> | Result[];
}

/**
 * The tables may be locked, and the role may have a timeout that is meant for
 * other work.
 */
const setTimeouts = statement({
  text: `SELECT pg_catalog.set_config('lock_timeout', '1000', true),
    pg_catalog.set_config('statement_timeout', '30000', true)`,
  columns: ["text", "text"],
  once: true,
});

/** Makes {@linkcode Look.ask} for a session. */
export function askOn(session: Session): Look["ask"] {
  return async <const B extends readonly Bound[]>(bound: B) => {
    const [, ...results] = await session.run([bind(setTimeouts), ...bound]);
    return results as ResultsOf<B>;
  };
}

/** A setting's value; empty where the server does not know it. */
export function settingOf({ settings }: Look, name: string): string {
  return settings.get(name)?.value ?? "";
}

/** A setting's value as a number. */
export function numberOf(look: Look, name: string): number {
  return Number(settingOf(look, name));
}
