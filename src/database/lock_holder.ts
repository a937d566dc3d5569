/**
 * Who holds the owner's lock. Any login may hold an advisory lock, by mistake
 * or on purpose, and an opening would wait for it silently. A former owner also
 * holds it while its last writes end, so the holder is reported only after a
 * moment, and waited for all the same.
 */

import { printable, quoted } from "../storage/foreign_text.ts";
import type { LogCode } from "../telemetry/log_events.ts";
import type { Session } from "./session.ts";
import { bind, statement } from "./statement.ts";

/** A session, or a prepared transaction, that holds the lock. */
export interface LockHolder {
  /** The server's process; null for a prepared transaction. */
  pid: number | null;
  /** Null where the server does not show it, like the next ones. */
  role: string | null;
  /** The name that the program gave itself. */
  application: string | null;
  /** Null also for a socket on the server's own machine. */
  address: string | null;
  /** When its session began. Shown to its own role and to pg_read_all_stats. */
  since: string | null;
}

/** What a {@linkcode LockWait} needs. */
export interface LockWaitOptions {
  schema: string;
  /** The lock's key. */
  key: bigint;
  /** Milliseconds that only grow; default `performance.now`. */
  now?: () => number;
  onEvent(
    code: LogCode,
    message: string,
    details?: Record<string, unknown>,
  ): void;
}

/** A former owner usually ends within this time. */
const graceMs = 5000;
/** How often to look for a new holder. */
const lookMs = 5000;
/** How often to repeat an unchanged report. */
const repeatMs = 60_000;
/** A shared lock may have any number of holders. */
const maxHolders = 5;

/** A wait for the owner's lock; see the file's head. */
export class LockWait {
  readonly #options: LockWaitOptions;
  readonly #now: () => number;
  readonly #since: number;
  #lookAt: number;
  #repeatAt = 0;
  #reported = "";

  constructor(options: LockWaitOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#since = this.#now();
    this.#lookAt = this.#since + graceMs;
  }

  /** Called whenever the lock was not available. */
  async failed(session: Session): Promise<void> {
    const now = this.#now();
    if (now < this.#lookAt) return;
    this.#lookAt = now + lookMs;
    const holders = await holdersOf(session, this.#options.key);
    // The lock has become free.
    if (holders?.length === 0) return;
    const shown = holders?.map(describe).join("; ") ?? "it can't be looked up";
    if (shown === this.#reported && now < this.#repeatAt) return;
    this.#reported = shown;
    this.#repeatAt = now + repeatMs;
    const { schema, onEvent } = this.#options;
    onEvent(
      "ownership_lock_held",
      `Another session holds the lock of schema ${quoted(schema)}: ${shown}`,
      { waitedMs: Math.round(now - this.#since), holders: holders ?? null },
    );
  }
}

/**
 * Up to five holders of a lock. Undefined if the views can't be read: the right
 * to them may have been revoked.
 */
export async function holdersOf(
  session: Pick<Session, "run">,
  key: bigint,
): Promise<LockHolder[] | undefined> {
  const [high, low] = [key >> 32n, key].map((half) => BigInt.asUintN(32, half));
  try {
    const [{ rows }] = await session.run([bind(selectHolders, high!, low!)]);
    return rows.map(([pid, role, application, address, since]) => ({
      pid,
      role: role && printable(role, 64),
      application: application && printable(application, 64),
      address: address && printable(address, 64),
      since,
    }));
  } catch {
    // The wait continues; if the session broke, its next statement fails.
    return undefined;
  }
}

function describe({ pid, role, application, since }: LockHolder): string {
  if (pid === null) return "a prepared transaction";
  return [
    `session ${pid}`,
    `of role ${role === null ? "unknown" : quoted(role)}`,
    `application ${application === null ? "unknown" : quoted(application)}`,
    since === null
      ? "since an unknown time (shown to pg_read_all_stats)"
      : `since ${since}`,
  ].join(", ");
}

const selectHolders = statement({
  // The server shows a key of 64 bits as two halves, with 1 for its kind.
  text: `SELECT held.pid, holder.usename::pg_catalog.text,
      holder.application_name, pg_catalog.host(holder.client_addr),
      pg_catalog.to_char(holder.backend_start AT TIME ZONE 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    FROM pg_catalog.pg_locks AS held
      LEFT JOIN pg_catalog.pg_stat_activity AS holder ON holder.pid = held.pid
    WHERE held.locktype = 'advisory'::pg_catalog.text AND held.granted
      AND held.database = (SELECT oid FROM pg_catalog.pg_database
        WHERE datname = pg_catalog.current_database())
      AND held.classid::pg_catalog.int8 = $1
      AND held.objid::pg_catalog.int8 = $2
      AND held.objsubid = 1::pg_catalog.int2
    ORDER BY held.pid LIMIT ${maxHolders}`,
  params: ["int8", "int8"],
  columns: ["int4?", "text?", "text?", "text?", "text?"],
  once: true,
});
