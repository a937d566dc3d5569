/**
 * Where a store is: one server, on one timeline, for all of its sessions.
 *
 * An address leads to another server without a word. A standby that is promoted
 * begins a new timeline, and may lack the last commits of the old one; the old
 * primary may still answer, or answer again. If each session went where it can,
 * writes would go to one server and reads to the other. So every session says
 * where it is before it is used, and is compared here:
 *
 * - Its timeline is lower than the one that is known: it is refused.
 * - It is higher: the store *moves*. All other sessions are ended, and what was
 *   believed of the tables is dropped.
 * - It is another cluster: it is refused.
 *
 * With several hosts, all of them are asked at the opening and at the owner's
 * beat (host_survey.ts), because a session that works finds nothing out: an old
 * primary that waits for its standby accepts connections and never answers.
 *
 * A server that falls silent does so for all of its sessions: a router on the way
 * may have forgotten them. The idle ones that were not heard from since are given
 * up too, lest each costs a call its time to find out.
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

/** What a server says of itself. */
export interface ServerFacts {
  /**
   * The cluster, the same for a primary and its standbys; undefined where the
   * server does not tell, as some managed ones.
   */
  system: string | undefined;
  /** Undefined during recovery, and where the server does not tell. */
  timeline: number | undefined;
  /** It is in recovery. */
  isStandby: boolean;
  takesWrites: boolean;
  /** For example `18.4`. */
  version: string;
}

/** The store has moved to a higher timeline. */
export interface ServerMove {
  from: number;
  to: number;
}

/** Not where the store is; another host may be. */
export class WrongServerError extends Error {
  override readonly name = "WrongServerError";
}

/** See the file's head. */
export class CurrentServer {
  readonly #listeners: ((move: ServerMove) => void)[] = [];
  readonly #sessions = new Map<Session, number>();
  #system: string | undefined;
  #timeline: number | undefined;
  #address: Address | undefined;
  #version: string | undefined;
  #isFixed = false;

  /** Calls back when the store has moved, its other sessions being ended. */
  onMove(listener: (move: ServerMove) => void): void {
    this.#listeners.push(listener);
  }

  /** The timeline; undefined before the first session. */
  get timeline(): number | undefined {
    return this.#timeline;
  }

  /** The cluster; undefined before the first session. */
  get system(): string | undefined {
    return this.#system;
  }

  /** Of the server; undefined before the first session. */
  get version(): string | undefined {
    return this.#version;
  }

  /**
   * The store has gone to another cluster, whose server is there: nothing that was
   * known of the last one holds. Of other addresses no session is taken any more.
   */
  relocate(address: Address): void {
    this.#sessions.clear();
    this.#system = undefined;
    this.#timeline = undefined;
    this.#version = undefined;
    this.#address = address;
    this.#isFixed = true;
  }

  /** The hosts in the order in which to try them: where the store is, first. */
  ordered(hosts: readonly Address[]): readonly Address[] {
    const at = this.#address;
    if (at === undefined) return hosts;
    return [
      ...hosts.filter((one) => isAt(one, at)),
      ...hosts.filter((one) => !isAt(one, at)),
    ];
  }

  /**
   * Takes in a session that was just made.
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
   * Compares what a server says of itself, and moves if that is the place to be.
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
    // A standby, where only reading is asked for.
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
 * The first digits of a log file's name are the timeline, at once after a
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

/** What every server tells. */
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

/** Without what a distribution adds, such as `18.4 (Debian 18.4-1)`. */
function shownVersion(version: string): string {
  return printable(version.split(" ", 1)[0]!, 32);
}
