/**
 * The fence: the check that every write must pass to commit, and how a write
 * whose answer was lost becomes final.
 *
 * Every write flush begins with the fence. It locks the rows of the owners'
 * table FOR SHARE and stops the transaction unless the only row is ours, with
 * our name and exactly our *epoch*, the row's time in microseconds.
 *
 *     open ── an answer was lost, or the fence was closed ──▶ in doubt
 *       ▲                                                        │
 *       └──────── the row has a new epoch, committed ────────────┤
 *                                                                │ no row
 *                                                                ▼
 *                                                              closed
 *
 * In doubt, one of our flushes may still be on its way: a proxy can hold it,
 * and a kernel retransmits a closed socket's data when a partition heals.
 * Executed later, it would undo what was acknowledged meanwhile. So nothing is
 * written, retried or looked up before the row has a new epoch (*re-fencing*).
 *
 * Why that makes every earlier flush final
 * 1. The UPDATE of the row waits for each transaction that holds the share
 *    lock. So when it commits, every flush that passed the fence before has
 *    ended.
 * 2. Each flush carries the epoch of the moment in which it was composed. A
 *    flush that reaches the fence later finds another epoch and is stopped.
 * 3. The epoch only rises: the UPDATE requires a lower one, and no epoch is
 *    sent twice. A late copy of an UPDATE changes nothing. A lost answer is
 *    covered by the next UPDATE, which accepts any lower epoch of this
 *    instance.
 *
 * A flush of another transaction slot that is stopped only because the epoch
 * has risen changed nothing, and is sent again with the new one. While answers
 * arrive, all this costs nothing. If the database can't be reached, the doubt
 * stays, writes fail with the connection's error, and the next call re-fences
 * first.
 */

import { sqlStateOf } from "./failures.ts";
import { FenceClosedError, FenceTimeoutError } from "./fence_errors.ts";
import { ConnectionLostError } from "./pg_error.ts";
import { rejectSql } from "./rejection.ts";
import { searchPath } from "./search_path.ts";
import { bind, type Bound, type ResultsOf, statement } from "./statement.ts";
import type { ValuesOf } from "./wire/types.ts";

/** The reason of the rejection when the fence is closed. */
export const notOwnerReason = "not_owner";

/** The parameters that identify our row: a name and an epoch. */
export const ownerParams = ["text", "timestamp"] as const;

/**
 * SQL that is false while the row with the owner's parameters, $`at` and the
 * next one, is the only one in the table, and that keeps the row there until
 * the transaction ends. Every write contains it, so it is minimal: one look at
 * all rows costs less than two, at the owner's and at others.
 */
export function notOwnerSql(table: string, at: number): string {
  return `ARRAY(SELECT uuid::pg_catalog.text = $${at}
      AND storage_connection_time = $${at + 1}
    FROM ${table} FOR SHARE) OPERATOR(pg_catalog.<>) '{t}'`;
}

/** How long one attempt to raise the epoch waits for running writes. */
const rowLockMs = 500;

/** Attempts of one caller; the next caller starts again. */
const maxTries = 10;

/**
 * If a write holds the row longer than this while the epoch must rise, it is
 * ended: its client may be gone, and every other write waits for it.
 */
const stuckMs = 1000;

/** The same limit for a change of the row. A takeover needs less. */
const stuckChangeMs = 5000;

/** How long a read waits for the epoch to rise, usually just a moment. */
const readWaitMs = 1000;

/** Runs a flush on a session that may write. */
export type RunFlush = <const B extends readonly Bound[]>(
  bound: B,
) => Promise<ResultsOf<B>>;

/** What a {@linkcode Fence} is made of. */
export interface FenceOptions {
  /** The owners' table, quoted, with its schema. */
  table: string;
  instanceId: string;
  /** The time in our row as it was written: the first epoch. */
  epoch: bigint;
  /** Called whenever the epoch was raised. */
  onRaised(): void;
  /** Called once when our row is gone, or was replaced by another one. */
  onClosed(isReplaced: boolean): void;
}

/** Our row in the owners' table; see the head of this file. */
export class Fence {
  readonly #options: FenceOptions;
  readonly #sql: ReturnType<typeof fenceSql>;
  #epoch: bigint;
  /** The highest epoch ever sent: the row may have it. */
  #highest: bigint;
  #isInDoubt = false;
  #closed: FenceClosedError | undefined;
  #renewing: Promise<void> | undefined;
  #renewingSince = 0;
  #statement: Bound;

  constructor(options: FenceOptions) {
    this.#options = options;
    this.#sql = fenceSql(options.table);
    this.#epoch = options.epoch;
    this.#highest = options.epoch;
    this.#statement = bind(this.#sql.fence, ...this.owner);
  }

  /** The epoch for a flush that is composed now. */
  get epoch(): bigint {
    return this.#epoch;
  }

  /** The present statement that stops a transaction unless the row is ours. */
  get statement(): Bound {
    return this.#statement;
  }

  /**
   * Begins like all our writes, and changes no row: shows whether a proxy harms
   * writes, even if reads pass through it unharmed.
   */
  get trial(): readonly Bound[] {
    return [this.#statement, bind(this.#sql.changeNothing)];
  }

  /** Our row, for a write that has the fence inside a statement of its own. */
  get owner(): ValuesOf<typeof ownerParams> {
    return [this.#options.instanceId, this.#epoch];
  }

  /** While true, nothing may be sent before {@linkcode renew} has succeeded. */
  get isInDoubt(): boolean {
    return this.#isInDoubt;
  }

  /** Whether a row is ours; it may have an epoch whose answer was lost. */
  isOurs(uuid: string, epoch: bigint): boolean {
    return uuid === this.#options.instanceId &&
      epoch >= this.#options.epoch && epoch <= this.#highest;
  }

  /** Our row at any of its epochs: the name, the first and the highest. */
  get ourRow(): [string, bigint, bigint] {
    const { instanceId, epoch } = this.#options;
    return [instanceId, epoch, this.#highest];
  }

  /** Removes our row. */
  get removal(): Bound {
    return bind(this.#sql.remove, ...this.ourRow);
  }

  /**
   * Called when a flush of this epoch may still be on its way: its answer was
   * lost, or the fence stopped it for an unknown reason. If the epoch has risen
   * since, no part of the flush can still commit.
   */
  doubt(epoch: bigint): void {
    if (epoch === this.#epoch) this.#isInDoubt = true;
  }

  /**
   * Raises the epoch, once for all callers that wait for it; `deadline` is the
   * caller's, in the time of `performance.now()`. After a failure the doubt
   * stays, and the next caller tries again.
   *
   * @throws {FenceClosedError} our row is gone.
   * @throws {FenceTimeoutError} the deadline has passed.
   * @throws {ConnectionLostError} with `sent` false, because nothing of the
   *   caller's own write was sent; other errors of the driver and of the pool.
   */
  async renew(run: RunFlush, deadline: number): Promise<void> {
    this.#begin(run);
    const { promise: late, reject } = Promise.withResolvers<never>();
    const leftMs = Math.max(0, deadline - performance.now());
    const timer = setTimeout(
      () => reject(new FenceTimeoutError(Math.round(leftMs))),
      leftMs,
    );
    try {
      await Promise.race([this.#renewing, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Raises the epoch for a read. A read shows whether a write of unknown
   * outcome was done, so that must not change afterwards. But a read needs no
   * right to write: it continues if the epoch can't be raised, or not soon.
   */
  async renewSoon(run: RunFlush): Promise<void> {
    this.#begin(run);
    await this.renew(run, this.#renewingSince + readWaitMs).catch(() => {});
  }

  #begin(run: RunFlush): void {
    if (this.#renewing !== undefined) return;
    this.#renewingSince = performance.now();
    this.#renewing = this.#renew(run).finally(() => {
      this.#renewing = undefined;
    });
  }

  async #renew(run: RunFlush): Promise<void> {
    if (this.#closed !== undefined) throw this.#closed;
    const { instanceId, epoch } = this.#options;
    for (let tries = 1;; tries++) {
      // An epoch is never sent twice: a late copy would pass for the new one.
      const next = ++this.#highest;
      try {
        const [, { count }, { rows: [row] }] = await run([
          bind(this.#sql.prepare),
          bind(this.#sql.raise, instanceId, epoch, next),
          bind(this.#sql.countRows),
        ]);
        if (count === 0) this.#close(row![0] > 0n);
        return this.#raised(next);
      } catch (error) {
        if (!isLocked(error) || tries === maxTries) throw unsent(error);
        await this.#endStuckWrites(run);
      }
    }
  }

  #raised(epoch: bigint): void {
    this.#epoch = epoch;
    this.#statement = bind(this.#sql.fence, ...this.owner);
    this.#isInDoubt = false;
    this.#options.onRaised();
  }

  #close(isReplaced: boolean): never {
    this.#closed = new FenceClosedError(isReplaced);
    this.#options.onClosed(isReplaced);
    throw this.#closed;
  }

  async #endStuckWrites(run: RunFlush): Promise<void> {
    try {
      await run([
        bind(
          endStuckWrites,
          this.#options.table,
          BigInt(stuckMs),
          BigInt(stuckChangeMs),
        ),
      ]);
    } catch (error) {
      // It belongs to another role, so wait for it.
      if (sqlStateOf(error) !== "42501") throw error;
    }
  }
}

/** Stopped by lock_timeout, or by a shorter statement_timeout. */
function isLocked(error: unknown): boolean {
  const sqlState = sqlStateOf(error);
  return sqlState === "55P03" || sqlState === "57014";
}

/** The waiting write did not lose its answer when this flush did. */
function unsent(error: unknown): unknown {
  return error instanceof ConnectionLostError
    ? new ConnectionLostError(error.message, false, error.cause)
    : error;
}

/**
 * Ends the sessions that have locked rows of the owners' table $1 for $2
 * milliseconds, as each write does, or have changed rows for $3 milliseconds: a
 * client that is gone may have left half of its flush.
 */
export const endStuckWrites = statement({
  text: `SELECT pg_catalog.pg_terminate_backend(lock.pid)
    FROM pg_catalog.pg_locks AS lock
    JOIN pg_catalog.pg_stat_activity AS holder USING (pid)
    WHERE lock.relation = pg_catalog.to_regclass($1)::pg_catalog.oid
      AND lock.granted
      AND lock.database = (SELECT oid FROM pg_catalog.pg_database
        WHERE datname = pg_catalog.current_database())
      AND pid <> pg_catalog.pg_backend_pid()
      AND holder.xact_start < pg_catalog.now() - interval '1 millisecond' *
        CASE lock.mode WHEN 'RowShareLock' THEN $2::float
          WHEN 'RowExclusiveLock' THEN $3::float END`,
  params: ["text", "int8", "int8"],
  columns: ["bool"],
  once: true,
});

/** Stops the transaction unless the owner's row is the only one. */
export const fenceStatement = (table: string) =>
  statement({
    text: `SELECT CASE WHEN ${notOwnerSql(table, 1)}
      THEN ${rejectSql(notOwnerReason)} END`,
    params: ownerParams,
    columns: ["int4?"],
  });

function fenceSql(table: string) {
  const isOurs = `uuid::pg_catalog.text = $1 AND storage_connection_time >= $2`;
  return {
    fence: fenceStatement(table),
    // Not SET LOCAL, which outside of BEGIN warns into the server's log. The
    // path is for a node's trigger, which names functions without a schema.
    prepare: statement({
      text: `SELECT pg_catalog.set_config('search_path', '${searchPath}', true),
        pg_catalog.set_config('lock_timeout', '${rowLockMs}', true)`,
      columns: ["text", "text"],
      once: true,
    }),
    raise: statement({
      text: `UPDATE ${table} SET storage_connection_time = $3
        WHERE ${isOurs} AND storage_connection_time < $3
          AND (SELECT pg_catalog.count(*) FROM ${table}) = 1`,
      params: ["text", "timestamp", "timestamp"],
      once: true,
    }),
    countRows: statement({
      text: `SELECT pg_catalog.count(*) FROM ${table}`,
      columns: ["int8"],
      once: true,
    }),
    changeNothing: statement({
      text: `UPDATE ${table} SET info = info WHERE false`,
      once: true,
    }),
    remove: statement({
      text: `DELETE FROM ${table}
        WHERE ${isOurs} AND storage_connection_time <= $3`,
      params: ["text", "timestamp", "timestamp"],
      once: true,
    }),
  };
}
