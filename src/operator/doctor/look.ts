/** What the checks of a server and of a schema look through. */

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

/** Of one run. */
export interface Look {
  session: Session;
  sessionOptions: SessionOptions;
  target: ConnectionTarget;
  /** The server is a hot standby, where some things can't be seen. */
  isStandby: boolean;
  /** The database is one of a Citus cluster. */
  hasCitus: boolean;
  /** What all stores of this server open together; undefined: not told. */
  maxConnections: number | undefined;
  /** The stores that this database has, by their schemas. */
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
  /** As pg_settings has it: `default`, `configuration file`, `user`… */
  source: string;
}

/** A check of the server or of a schema. */
export interface Check<L = Look> {
  name: CheckName;
  run(look: L): Promise<Result[]> | Result[];
}

/**
 * What is looked at may be locked, and the role may have a timeout that is not
 * meant for us.
 */
const setTimeouts = statement({
  text: `SELECT pg_catalog.set_config('lock_timeout', '1000', true),
    pg_catalog.set_config('statement_timeout', '30000', true)`,
  columns: ["text", "text"],
  once: true,
});

/** For {@linkcode Look.ask}. */
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

/** A setting that is a number. */
export function numberOf(look: Look, name: string): number {
  return Number(settingOf(look, name));
}
