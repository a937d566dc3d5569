/**
 * The session of the owner's lock: it holds the lock, listens for new rows, and
 * checks the table.
 *
 * Its lease. As far as the server can tell, a process that is frozen, or whose
 * network is gone, keeps its connection and so its lock: the successor would
 * wait for ever. So the server ends a lock session that is silent for
 * `leaseMs`; an owner asks something every few seconds. An owner that was only
 * slow connects again, and is still the owner if no other instance has come.
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

/** See the head of this file. */
export class LockSession {
  readonly session: Session;
  /** Milliseconds after which an owner breaks its silence. */
  readonly beatMs: number;
  /** Whether the database has Citus; its servers may move the schema. */
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

  /** Whether it can run statements. */
  get usable(): boolean {
    return this.session.usable;
  }

  /** Runs statements as one transaction, like a session. */
  async run<const B extends readonly Bound[]>(bound: B): Promise<ResultsOf<B>> {
    try {
      return await this.session.run(bound);
    } catch (error) {
      // The next statement then goes to the right place.
      await this.#home.isMoved(error);
      throw error;
    }
  }

  /** The statements before a change of the row, on a cluster. */
  get writeGuard(): readonly Bound[] {
    const { guard } = this.#home;
    return guard === undefined
      ? []
      : [bind(this.#sql.allowShards), ...guard.write];
  }

  /** Runs one statement, which is done only where the schema is. */
  async #ask<C extends readonly PgType[]>(bound: Bound<C>): Promise<Result<C>> {
    const guard = this.#home.guard?.read ?? [];
    const results = await this.run([...guard, bound]);
    return results.at(-1) as Result<C>;
  }

  /** Ends the session, which releases the lock. */
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

  /** The rows of instances, the newest last; none if there is no table yet. */
  async rows(): Promise<OwnerRow[]> {
    const { era } = this.#home;
    try {
      return ownerRows(await this.#ask(bind(this.#sql.selectRows)));
    } catch (error) {
      const isMissing = ["42P01", "3F000"].includes(sqlStateOf(error) ?? "");
      // The home has changed or is lost: the table may well be there.
      if (isMissing && era === this.#home.era) return [];
      throw error;
    }
  }

  /** Whose the only row is. A second row is a later starter's. */
  async whose(fence: Fence): Promise<"ours" | "another's" | "nobody's"> {
    const [first, second] = await this.rows();
    if (first === undefined) return "nobody's";
    const isOurs = second === undefined &&
      fence.isOurs(first.uuid, first.epoch);
    return isOurs ? "ours" : "another's";
  }

  /**
   * Notifies again that the row is ours. An instance that did not listen when
   * the row was written then releases the lock: a node that waits for the lock
   * listens only once it has the lock, and never checks the table again.
   */
  async remind(fence: Fence): Promise<void> {
    await this.#ask(bind(this.#sql.remind, ...fence.ourRow, this.#schema));
  }

  /** Keeps the lease while other work takes its time. */
  async whileBusy<T>(work: () => Promise<T>): Promise<T> {
    const beat = setInterval(
      // If the session broke, its next user gets the error.
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
