/**
 * The server on which a store works: one server, on one timeline, for all
 * sessions.
 *
 * An address may lead to another server without notice. A standby that is
 * promoted begins a new timeline, and may lack the last commits of the old one;
 * the old primary may still answer, or answer again. If each session went
 * wherever it could, writes would go to one server and reads to another. So
 * every session reports its server before it is used, and the report is
 * compared here:
 *
 * - Its timeline is lower than the known one: the session is refused.
 * - Its timeline is higher: the store *moves*. All other sessions are ended,
 *   and all cached knowledge of the tables is dropped.
 * - It is another cluster: the session is refused.
 *
 * With several hosts, all of them are asked when the store opens and at the
 * owner's beat (host_survey.ts), because a working session learns nothing: an
 * old primary that waits for its standby accepts connections and never answers.
 *
 * A server that falls silent is silent on all of its sessions: a router on the
 * way may have forgotten them. Idle sessions that have received nothing since
 * then are given up, too; otherwise each would cost a call the time to notice.
 */

import { printable } from "../storage/foreign_text.ts";
import { sqlStateOf } from "./failures.ts";
import type { Session } from "./session.ts";
import { bind, statement } from "./statement.ts";

/** A host and a port. */
export interface Address {
  host: string;
  port: number;
}

/** What a server reports about itself. */
export interface ServerFacts {
  /**
   * The cluster, the same for a primary and its standbys; undefined where the
   * server does not report it, as with some managed ones.
   */
  system: string | undefined;
  /** Undefined during recovery, and where the server does not report it. */
  timeline: number | undefined;
  /** Whether it is in recovery. */
  isStandby: boolean;
  takesWrites: boolean;
  /** For example `18.4`. */
  version: string;
}

/** The move of the store to a higher timeline. */
export interface ServerMove {
  from: number;
  to: number;
}

/** The session's server is not the store's; another host may be. */
export class WrongServerError extends Error {
  override readonly name = "WrongServerError";
}

/** See the head of this file. */
export class CurrentServer {
  readonly #listeners: ((move: ServerMove) => void)[] = [];
  readonly #sessions = new Map<Session, number>();
  #system: string | undefined;
  #timeline: number | undefined;
  #address: Address | undefined;
  #version: string | undefined;
  #isFixed = false;
  #numbering = 0;

  /** Calls back when the store has moved and its other sessions are ended. */
  onMove(listener: (move: ServerMove) => void): void {
    this.#listeners.push(listener);
  }

  /** The timeline; undefined before the first session. */
  get timeline(): number | undefined {
    return this.#timeline;
  }

  /** Changes whenever a transaction's number may stand for another transaction. */
  get numbering(): number {
    return this.#numbering;
  }

  /** The cluster; undefined before the first session. */
  get system(): string | undefined {
    return this.#system;
  }

  /** The server's version; undefined before the first session. */
  get version(): string | undefined {
    return this.#version;
  }

  /**
   * Called when the store has gone to another cluster, with its server's
   * address: nothing known of the last one holds. From now on sessions at other
   * addresses are refused.
   */
  relocate(address: Address): void {
    this.#numbering++;
    this.#sessions.clear();
    this.#system = undefined;
    this.#timeline = undefined;
    this.#version = undefined;
    this.#address = address;
    this.#isFixed = true;
  }

  /** The hosts in the order in which to try them: the store's host first. */
  ordered(hosts: readonly Address[]): readonly Address[] {
    const at = this.#address;
    if (at === undefined) return hosts;
    return [
      ...hosts.filter((one) => isAt(one, at)),
      ...hosts.filter((one) => !isAt(one, at)),
    ];
  }

  /**
   * Checks a new session and records it.
   *
   * @throws {WrongServerError}
   */
  admit(session: Session, facts: ServerFacts, address: Address): void {
    this.follow(facts, address);
    this.#sessions.set(session, this.#timeline ?? 0);
    void session.closed.then(() => {
      if (session.silentSince !== undefined) this.#doubt(session.silentSince);
    });
    void session.released.then(() => this.#sessions.delete(session));
  }

  /**
   * Compares a server's report, and moves there if the store belongs there.
   *
   * @throws {WrongServerError}
   */
  follow({ system, timeline, version }: ServerFacts, address: Address): void {
    if (this.#isFixed && !isAt(address, this.#address!)) {
      throw new WrongServerError("The store has gone to another server");
    }
    this.#system ??= system;
    if (system !== undefined && system !== this.#system) {
      throw new WrongServerError(
        `Expected the cluster ${this.#system}, found ${system}`,
      );
    }
    // A standby, which only serves reads.
    if (timeline === undefined) {
      this.#version = version;
      return;
    }
    const known = this.#timeline ?? timeline;
    if (timeline < known) {
      throw new WrongServerError(
        `Expected timeline ${known} or a higher one, found ${timeline}`,
      );
    }
    this.#version = version;
    this.#timeline = timeline;
    this.#address = address;
    if (timeline > known) this.#move({ from: known, to: timeline });
  }

  #move(move: ServerMove): void {
    this.#numbering++;
    for (const [session, timeline] of this.#sessions) {
      if (timeline >= move.to) continue;
      session.destroy(`The store has moved on to timeline ${move.to}`);
    }
    for (const listener of this.#listeners) listener(move);
  }

  #doubt(since: number): void {
    for (const session of this.#sessions.keys()) {
      const isIdle = session.usable && session.inFlight === 0;
      if (isIdle && session.receivedAt < since) {
        session.destroy("Another connection to the server fell silent");
      }
    }
  }
}

function isAt(one: Address, other: Address): boolean {
  return one.host === other.host && one.port === other.port;
}

/**
 * The timeline is the first digits of a log file's name, even just after a
 * promotion; `pg_control_checkpoint()` shows the former one until a checkpoint.
 */
const selectFacts = statement({
  text: `SELECT system_identifier::pg_catalog.text,
      CASE WHEN NOT in_recovery THEN pg_catalog.left(
        pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END,
      NOT in_recovery AND NOT
        pg_catalog.current_setting('default_transaction_read_only')::boolean,
      in_recovery, pg_catalog.current_setting('server_version')
    FROM pg_catalog.pg_control_system(),
      pg_catalog.pg_is_in_recovery() AS in_recovery`,
  columns: ["text", "text?", "bool", "bool", "text"],
  once: true,
});

/** What every server can report. */
const selectWritable = statement({
  text: `SELECT NOT pg_catalog.pg_is_in_recovery() AND NOT
      pg_catalog.current_setting('default_transaction_read_only')::boolean,
    pg_catalog.pg_is_in_recovery(),
    pg_catalog.current_setting('server_version')`,
  columns: ["bool", "bool", "text"],
  once: true,
});

/** No such function, no right to it, not supported. */
const notProvided = ["42883", "42501", "0A000"];

/** Asks a session which server it has reached. */
export async function factsOf(session: Session): Promise<ServerFacts> {
  try {
    const [{ rows: [row] }] = await session.run([bind(selectFacts)]);
    const [system, digits, takesWrites, isStandby, fullVersion] = row!;
    const timeline = digits === null ? undefined : parseInt(digits, 16);
    const version = shownVersion(fullVersion);
    return { system, timeline, takesWrites, isStandby, version };
  } catch (error) {
    if (!notProvided.includes(sqlStateOf(error) ?? "")) throw error;
  }
  const [{ rows: [row] }] = await session.run([bind(selectWritable)]);
  const [takesWrites, isStandby, fullVersion] = row!;
  return {
    system: undefined,
    timeline: undefined,
    takesWrites,
    isStandby,
    version: shownVersion(fullVersion),
  };
}

/** Drops what a distribution adds, as in `18.4 (Debian 18.4-1)`. */
function shownVersion(version: string): string {
  return printable(version.split(" ", 1)[0]!, 32);
}
