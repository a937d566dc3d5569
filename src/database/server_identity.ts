/**
 * Which server a session has reached, and on which timeline.
 *
 * A server that is promoted begins a new timeline, and may lack the last commits
 * of the one before: what was believed of the tables need not be true there. An
 * address leads to another server without a word, so each session is asked.
 */

import type { Session } from "./session.ts";
import { bind, statement } from "./statement.ts";

/**
 * The first digits of a log file's name are the timeline, at once after a
 * promotion; `pg_control_checkpoint()` shows the former one until a checkpoint.
 */
const selectIdentity = statement({
  text: `SELECT system_identifier::text ||
      CASE WHEN pg_is_in_recovery() THEN ''
        ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END
    FROM pg_control_system()`,
  columns: ["text"],
  once: true,
});

/** Compares the servers of sessions; see the file's head. */
export class ServerIdentity {
  readonly #onChange: () => void;
  #known: string | undefined;

  /** Calls back when a session has reached another server than the one before. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Where the latest session is; undefined before the first. */
  get known(): string | undefined {
    return this.#known;
  }

  /** A session that is being made; it is asked before it is used. */
  async reached(connecting: Promise<Session>): Promise<Session> {
    const session = await connecting;
    try {
      const [{ rows: [row] }] = await session.run([bind(selectIdentity)]);
      this.#compare(row![0]);
      return session;
    } catch (error) {
      session.destroy("The server did not say which it is", error);
      throw error;
    }
  }

  #compare(identity: string): void {
    const isOther = this.#known !== undefined && this.#known !== identity;
    this.#known = identity;
    if (isOther) this.#onChange();
  }
}
