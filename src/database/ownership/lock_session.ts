/**
 * The session of the owner's lock: it holds the lock, hears of new rows, and
 * looks at the table.
 *
 * Its lease. A process that is frozen, or whose network is gone, keeps its
 * connection as far as the server can tell, and so its lock: the instance that is
 * to take over would wait for ever. So the server ends a lock session that says
 * nothing for `leaseMs`; an owner asks something every few seconds. An owner that
 * was only slow connects again, and is the owner as before if nobody has come.
 */

import { schemaLockId } from "../../storage/stream_id.ts";
import { sqlStateOf } from "../failures.ts";
import type { Home } from "../cluster/home.ts";
import type { Fence } from "../fence.ts";
import type { Session } from "../session.ts";
import { bind, type Bound, type Result, type ResultsOf } from "../statement.ts";
import type { PgType } from "../wire/types.ts";
import type { OwnershipOptions } from "./options.ts";
import type { OwnerRow } from "./rows.ts";
import type { OwnershipSql } from "./sql.ts";

type LinkOptions = Pick<OwnershipOptions, "schema" | "home" | "leaseMs">;

/** See the file's head. */
export class LockSession {
  readonly session: Session;
  /** Milliseconds after which an owner breaks its silence. */
  readonly beatMs: number;
  /** The database has Citus; then the schema may be on another server of it. */
  readonly isOnCluster: boolean;
  readonly #schema: string;
  readonly #home: Home;
  readonly #sql: OwnershipSql;

  private constructor(
    session: Session,
    { schema, home, leaseMs }: LinkOptions,
    sql: OwnershipSql,
    isOnCluster: boolean,
  ) {
    this.session = session;
    this.beatMs = leaseMs / 3;
    this.isOnCluster = isOnCluster;
    this.#home = home;
    this.#schema = schema;
    this.#sql = sql;
  }

  /** Connects, listens, and takes the lease; the signal gives up connecting. */
  static async open(
    options: LinkOptions & Pick<OwnershipOptions, "connect">,
    sql: OwnershipSql,
    onChange: () => void,
    signal?: AbortSignal,
  ): Promise<LockSession> {
    const { schema, leaseMs } = options;
    const session = await options.connect(signal);
    session.onNotification(({ channel, payload }) => {
      if (payload === schema && sql.channels.includes(channel)) onChange();
    });
    try {
      const [, { rows: [row] }] = await session.run([
        bind(sql.setLease, String(leaseMs)),
        bind(sql.hasCitus),
        ...sql.listens,
      ]);
      return new LockSession(session, options, sql, row?.[0] === true);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** Whether it can be asked anything. */
  get usable(): boolean {
    return this.session.usable;
  }

  /** Runs statements as one transaction, as a session does. */
  async run<const B extends readonly Bound[]>(bound: B): Promise<ResultsOf<B>> {
    try {
      return await this.session.run(bound);
    } catch (error) {
      // Whoever is asked next is asked at the right place.
      await this.#home.isMoved(error);
      throw error;
    }
  }

  /** What a change of the row begins with, on a cluster. */
  get writeGuard(): readonly Bound[] {
    const { guard } = this.#home;
    return guard === undefined
      ? []
      : [bind(this.#sql.allowShards), ...guard.write];
  }

  /** One statement, which is done only where the schema is. */
  async #ask<C extends readonly PgType[]>(bound: Bound<C>): Promise<Result<C>> {
    const guard = this.#home.guard?.read ?? [];
    const results = await this.run([...guard, bound]);
    return results.at(-1) as Result<C>;
  }

  /** Ends it, which lets the lock go. */
  async close(): Promise<void> {
    await this.session.close();
  }

  /** Takes the lock for the session, if it is free. */
  async tryLock(): Promise<boolean> {
    const { rows: [row] } = await this.#ask(
      bind(this.#sql.tryLock, schemaLockId(this.#schema)),
    );
    return row?.[0] === true;
  }

  /** Whether no session has the lock; does not take it. */
  async isLockFree(): Promise<boolean> {
    const { rows: [row] } = await this.#ask(this.probe);
    return row?.[0] === true;
  }

  /** Takes the lock until the transaction ends, if it is free. */
  get probe() {
    return bind(this.#sql.probeLock, schemaLockId(this.#schema));
  }

  /** Rows of instances, the newest last; none where there is no table yet. */
  async rows(): Promise<OwnerRow[]> {
    const { era } = this.#home;
    try {
      return ownerRows(await this.#ask(bind(this.#sql.selectRows)));
    } catch (error) {
      const isMissing = ["42P01", "3F000"].includes(sqlStateOf(error) ?? "");
      // The home is another now, or lost: there the table may well be.
      if (isMissing && era === this.#home.era) return [];
      throw error;
    }
  }

  /**
   * Whose the only row is; a second one is a later starter's.
   */
  async whose(fence: Fence): Promise<"ours" | "another's" | "nobody's"> {
    const [first, second] = await this.rows();
    if (first === undefined) return "nobody's";
    const isOurs = second === undefined &&
      fence.isOurs(first.uuid, first.epoch);
    return isOurs ? "ours" : "another's";
  }

  /**
   * Notifies once more that the row is ours. Whoever was not listening when it
   * was written learns it now, and lets the lock go: a node that waits for the
   * lock listens only when it has got it, and looks at the table never again.
   */
  async remind(fence: Fence): Promise<void> {
    await this.#ask(bind(this.#sql.remind, ...fence.ourRow, this.#schema));
  }

  /** Keeps the lease while something else takes its time. */
  async whileBusy<T>(work: () => Promise<T>): Promise<T> {
    const beat = setInterval(
      // If it broke, whoever uses it next is told.
      () => void this.run([bind(this.#sql.ping)]).catch(() => {}),
      this.beatMs,
    );
    try {
      return await work();
    } finally {
      clearInterval(beat);
    }
  }
}

/** What {@linkcode OwnershipSql.selectRows} has found. */
export function ownerRows(
  { rows }: { rows: [string, bigint, string | null, bigint][] },
): OwnerRow[] {
  return rows.map(([uuid, epoch, info, now]) => ({
    uuid,
    epoch,
    info,
    ageMs: Number((now - epoch) / 1000n),
  }));
}
