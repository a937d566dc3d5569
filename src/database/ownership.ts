/**
 * One writer per schema: the protocol that instances of this module and the
 * existing nodes share (shared by table, notification and lock).
 *
 * What is shared
 * - the *row*: table `singlenodekey` has the row of the instance that is, or is
 *   about to be, the owner. Inserting notifies channel `singlenodekey`.
 * - the *lock*: a session advisory lock, key `schemaLockId(schema)`.
 *
 * States of an instance
 *
 *     starting ── row written ──▶ waiting ── lock taken, delay over ──▶ owner
 *         │                          │ row gone                          │
 *         │ aborted                  ▼                                   │
 *         └──────────────────▶   stopped ◀── row gone, lock not back ────┘
 *
 * - starting: LISTEN is in place before the row is written, so no takeover
 *   after that goes unnoticed. Writing the row removes all others, under a
 *   table lock that starters and nodes respect: of two starters the later one
 *   stands alone in the table. The change is sent only once the lock was answered,
 *   so that it is never executed for a starter that has been gone for long. It waits for the writes of the present owner
 *   that are under way; one that is still there after any write's time has lost
 *   its client in the middle of it (frozen while it was sending, say) and is
 *   ended.
 * - waiting: tries the lock, at first often, then once a second, and tells who
 *   holds it if that lasts (lock_holder.ts). Its row being
 *   gone, in the delay too, means that yet another instance has started: it
 *   stops.
 * - owner: looks at the table after every notification for its schema, at a
 *   slow beat, and after every reconnection of its lock session. If the lock
 *   session breaks it connects again and goes on if the row is still its own
 *   and the lock is to be had; meanwhile writes are safe by the fence.
 * - stopped is for good: `signal` aborts, every call rejects. Writes that were
 *   under way end, then the lock is released and the successor's wait is over.
 *
 * A row is ours if it has our name and one of our times: an instance that is
 * started again under the same name is another one. We change the time ourselves
 * when a write has lost its answer (fence.ts); nodes compare only the name, and
 * the notification of that change finds our row in place.
 *
 * Every write begins with the fence (fence.ts), which locks the rows FOR SHARE
 * and stops the transaction unless there is ours and no other. Proof that no
 * write of a former owner commits after a successor has written its row: a
 * successor's DELETE waits for every transaction that holds the share lock, so
 * each of those ends before the row is gone; a fence that runs later finds no row
 * (it waits for a DELETE under way, and under higher isolation levels fails with
 * 40001 and finds none at its next attempt). A second row is there only when a
 * node whose snapshot was too old to see ours has left it; it is the later one
 * and waits for the lock.
 * This needs no clock, no timely notification and no lock session: an owner that
 * was frozen for a day finds the fence closed at its first write. Since only the
 * row decides, the two connections of an owner can break independently.
 */

import { hostname } from "node:os";
import process from "node:process";
import { messageOf, printable } from "../storage/foreign_text.ts";
import { schemaLockId } from "../storage/stream_id.ts";
import type { LogCode } from "../telemetry/log_events.ts";
import { sqlStateOf } from "./failures.ts";
import { endStuckWrites, Fence } from "./fence.ts";
import { ownershipLost } from "./fence_errors.ts";
import { LockWait } from "./lock_holder.ts";
import { quoteIdentifier } from "./migrations/mod.ts";
import type { Session } from "./session.ts";
import { bind, statement } from "./statement.ts";

/** How ownership is taken. */
export interface OwnershipOptions {
  schema: string;
  /** Names this instance in the table. */
  instanceId: string;
  /** A session of its own, directly to the server; the signal gives it up. */
  connect(signal?: AbortSignal): Promise<Session>;
  /** Milliseconds to wait after an owner had to be replaced. */
  startupDelayMs: number;
  /** Milliseconds that no write of an owner takes. */
  stuckWriteMs: number;
  signal?: AbortSignal | undefined;
  /** Called every few seconds while this instance owns the schema. */
  onBeat?: () => void;
  /** Hears what happens: a stable word, a text, plain data. */
  onEvent(
    code: LogCode,
    message: string,
    details?: Record<string, unknown>,
  ): void;
}

const channel = "singlenodekey";
const pollMs = 1000;
const beatMs = 5000;
/** How long one attempt to write the row waits for the owner's writes. */
const rowLockMs = 500;
/**
 * How long a starter may take between its two flushes; then it is taken for gone,
 * and the server ends its session.
 */
const idleMs = 3000;
/** How long the writes of the owner are waited for, and ended if they can be. */
const replaceMs = 60_000;
/** How long a lost lock is sought while the row is still ours. */
const recoverMs = 60_000;

/** This instance's ownership of a schema; see the file's head. */
export class Ownership {
  readonly #options: OwnershipOptions;
  readonly #sql: ReturnType<typeof ownershipSql>;
  readonly #stopped = new AbortController();
  /** Ends every wait: stopped or closing. */
  readonly #ended = new AbortController();
  #session: Session | undefined;
  #fence: Fence | undefined;
  #onReconnection: () => void = () => {};
  #beforeRelease: () => Promise<void> = () => Promise.resolve();
  #checking: Promise<void> | undefined;
  #checkAgain = false;
  #beat: ReturnType<typeof setInterval> | undefined;

  private constructor(options: OwnershipOptions) {
    this.#options = options;
    this.#sql = ownershipSql(options.schema);
  }

  /**
   * Becomes the owner; waits for the present one to leave, until the signal
   * aborts.
   *
   * @throws {StreamStorageError} RESOURCE_EXHAUSTED (`ownership_lost`) when
   *   another instance started meanwhile; the signal's reason; the driver's
   *   errors.
   */
  static async take(options: OwnershipOptions): Promise<Ownership> {
    const ownership = new Ownership(options);
    try {
      await ownership.#start();
      return ownership;
    } catch (error) {
      await ownership.#leave();
      throw error;
    }
  }

  /** Aborts when this instance must stop; the reason is the error to tell. */
  get signal(): AbortSignal {
    return this.#stopped.signal;
  }

  /** What every write must pass. */
  get fence(): Fence {
    return this.#fence!;
  }

  /** The lock session is back, maybe on a server that has lost commits. */
  onReconnection(callback: () => void): void {
    this.#onReconnection = callback;
  }

  /** What has to end before the lock is released. */
  beforeRelease(callback: () => Promise<void>): void {
    this.#beforeRelease = callback;
  }

  /** Stops for good: our row is gone, or another holds the lock. */
  stop(isReplaced: boolean): void {
    if (this.#ended.signal.aborted) return;
    const error = ownershipLost({ isReplaced });
    this.#options.onEvent("ownership_lost", error.message, { isReplaced });
    this.#end();
    this.#stopped.abort(error);
    void this.#beforeRelease().finally(() => this.#session?.close());
  }

  /**
   * Gives ownership up: our row goes, the lock is released. A server that does
   * not answer within the budget is left alone.
   */
  async release(budgetMs: number): Promise<void> {
    this.#end();
    // Node takes no fraction of a millisecond.
    await this.#leave(AbortSignal.timeout(Math.ceil(budgetMs)));
  }

  #end(): void {
    clearInterval(this.#beat);
    this.#ended.abort();
  }

  /** Our row, if it is still there, must not keep a successor's company. */
  async #leave(signal?: AbortSignal): Promise<void> {
    let session = this.#session;
    this.#session = undefined;
    for (let tries = 1; session !== undefined; tries++) {
      const error = await this.#removeRow(session, signal);
      // Then the session has been read-only since it began; the next may not.
      const isReadOnly = tries === 1 && sqlStateOf(error) === "25006";
      session = isReadOnly
        ? await this.#options.connect(signal).catch(() => undefined)
        : undefined;
    }
  }

  /**
   * Ends the session; returns what kept the row from being removed. The
   * successor removes it then, and there is nobody left to tell.
   */
  async #removeRow(session: Session, signal?: AbortSignal): Promise<unknown> {
    const giveUp = () => session.giveUp("Closed before the answer came");
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      const removal = session.usable ? this.#fence?.removal : undefined;
      if (removal !== undefined) await session.run([removal]);
      return undefined;
    } catch (error) {
      return error;
    } finally {
      await session.close();
      signal?.removeEventListener("abort", giveUp);
    }
  }

  async #start(): Promise<void> {
    const { signal, onEvent } = this.#options;
    const session = await this.#connect(signal);
    const others = await this.#replaceRows(session);
    if (others.length > 0) {
      onEvent("ownership_takeover", "Another instance owns the schema", {
        others,
      });
    }
    if (!await this.#tryLock(session)) {
      const wait = this.#lockWait();
      for (let nth = 0; !await this.#poll(); nth++) {
        await wait.failed(session);
        await this.#wait(Math.min(pollMs, 50 * 2 ** nth), signal);
      }
      await this.#delayStart();
    }
    onEvent("ownership_taken", "This instance owns the schema");
    this.#beat = setInterval(() => {
      this.#check();
      this.#options.onBeat?.();
    }, beatMs);
    this.#watch(session);
    // For a notification that came together with the last answer.
    this.#check();
  }

  /**
   * Puts our row in the place of all others once their writes have ended;
   * returns what the others say of themselves.
   *
   * In two flushes. If the one that changes the table were the only one, a late
   * copy of it, its starter long gone, would stop the owner and leave nobody. Of
   * the first, a late copy takes a lock that the owner does not feel, and loses it
   * soon; nor does the second find a transaction then.
   */
  async #replaceRows(session: Session): Promise<(string | null)[]> {
    const { instanceId, signal, onEvent } = this.#options;
    const deadline = performance.now() + replaceMs;
    for (;;) {
      try {
        await session.run([
          bind(this.#sql.begin),
          bind(this.#sql.setTimeouts),
          bind(this.#sql.lockTable),
        ]);
        const [others, { rows: [own] }] = await session.run([
          bind(this.#sql.selectAll),
          bind(this.#sql.replaceAll, instanceId, this.#info()),
          bind(this.#sql.commit),
        ]);
        this.#fence = new Fence({
          table: this.#sql.table,
          instanceId,
          epoch: own![0],
          onRaised: () =>
            onEvent("ownership_epoch_raised", "An earlier write is final now"),
          onClosed: (isReplaced) => this.stop(isReplaced),
        });
        return others.rows.map(([info]) => info && printable(info, 200));
      } catch (error) {
        const isLocked = sqlStateOf(error) === "55P03";
        if (!isLocked || performance.now() > deadline) throw error;
        await session.run([bind(this.#sql.rollback)]);
        signal?.throwIfAborted();
        await this.#endStuckWrites(session);
      }
    }
  }

  /** Writes hold the row; one that is too old for a write has no client. */
  async #endStuckWrites(session: Session): Promise<void> {
    const { onEvent, stuckWriteMs } = this.#options;
    try {
      const [{ rows }] = await session.run([
        bind(
          endStuckWrites,
          this.#sql.table,
          BigInt(stuckWriteMs),
          BigInt(stuckWriteMs),
        ),
      ]);
      if (rows.length === 0) return;
      onEvent("ownership_write_ended", "A write of the last owner was stuck", {
        sessions: rows.length,
      });
    } catch (error) {
      // Of another role: it must be waited for.
      if (sqlStateOf(error) !== "42501") throw error;
    }
  }

  /** A session that listens; its loss is noticed once we are the owner. */
  async #connect(signal?: AbortSignal): Promise<Session> {
    const session = await this.#options.connect(signal);
    this.#session = session;
    session.onNotification(({ channel: heard, payload }) => {
      if (heard === channel && payload === this.#options.schema) this.#check();
    });
    await session.run([bind(this.#sql.listen)]);
    return session;
  }

  #watch(session: Session): void {
    void session.closed.then(() => {
      if (!this.#ended.signal.aborted) void this.#recover();
    });
  }

  /** For what a replaced owner has still to do elsewhere. */
  async #delayStart(): Promise<void> {
    const { signal, startupDelayMs } = this.#options;
    for (let left = startupDelayMs; left > 0; left -= pollMs) {
      await this.#wait(Math.min(pollMs, left), signal);
      await this.#assertOurs();
    }
  }

  /** One more try for the lock while our row is the one that counts. */
  async #poll(): Promise<boolean> {
    await this.#assertOurs();
    return await this.#tryLock(this.#session!);
  }

  async #tryLock(session: Session): Promise<boolean> {
    const [{ rows: [row] }] = await session.run([
      bind(this.#sql.tryLock, schemaLockId(this.#options.schema)),
    ]);
    return row?.[0] === true;
  }

  #lockWait(): LockWait {
    const { schema, onEvent } = this.#options;
    return new LockWait({ schema, key: schemaLockId(schema), onEvent });
  }

  async #assertOurs(): Promise<void> {
    const whose = await this.#whose();
    if (whose === "ours") return;
    throw ownershipLost({ isReplaced: whose === "another's" });
  }

  /** Whose the row is; a second one is a later starter's. */
  async #whose(): Promise<"ours" | "another's" | "nobody's"> {
    const [{ rows: [first, second] }] = await this.#session!.run([
      bind(this.#sql.selectIds),
    ]);
    if (first === undefined) return "nobody's";
    const isOurs = second === undefined && this.fence.isOurs(...first);
    return isOurs ? "ours" : "another's";
  }

  /** Looks at the table, once at a time, and once more if asked meanwhile. */
  #check(): void {
    // Before our row is in, and while the session is away, others look.
    if (this.#beat === undefined || this.#ended.signal.aborted) return;
    this.#checkAgain = true;
    this.#checking ??= this.#checkAll().finally(() => {
      this.#checking = undefined;
    });
  }

  async #checkAll(): Promise<void> {
    while (this.#checkAgain && !this.#ended.signal.aborted) {
      this.#checkAgain = false;
      try {
        const whose = await this.#whose();
        if (whose !== "ours") return this.stop(whose === "another's");
      } catch {
        // The session broke; its recovery looks at the table.
        return;
      }
    }
  }

  /** The lock session is gone: get it back, or stop. */
  async #recover(): Promise<void> {
    const { onEvent } = this.#options;
    onEvent("ownership_session_lost", "The lock session broke");
    let lockWanted: number | undefined;
    let wait: LockWait | undefined;
    for (let attempt = 0; !this.#ended.signal.aborted; attempt++) {
      try {
        const session = this.#session?.usable
          ? this.#session
          : await this.#connect();
        if (this.#ended.signal.aborted) return await session.close();
        const whose = await this.#whose();
        if (whose !== "ours") return this.stop(whose === "another's");
        if (await this.#tryLock(session)) {
          this.#onReconnection();
          onEvent("ownership_session_back", "The lock session is back");
          return this.#watch(session);
        }
        lockWanted ??= performance.now();
        await (wait ??= this.#lockWait()).failed(session);
        if (performance.now() - lockWanted > recoverMs) return this.stop(true);
      } catch (error) {
        onEvent("ownership_session_retry", "The lock session is not back", {
          cause: messageOf(error),
        });
      }
      // Jittered: an owner of each schema waits for the same server.
      const pause = Math.min(pollMs, 50 * 2 ** attempt);
      await this.#wait(pause * (0.5 + Math.random() / 2)).catch(() => {});
    }
  }

  /** Waits; ends early when we are to stop, or with the signal's reason. */
  #wait(ms: number, signal?: AbortSignal): Promise<void> {
    const any = signal === undefined
      ? this.#ended.signal
      : AbortSignal.any([signal, this.#ended.signal]);
    return new Promise((resolve, reject) => {
      if (any.aborted) return reject(any.reason);
      const onAbort = () => {
        clearTimeout(timer);
        reject(any.reason);
      };
      const timer = setTimeout(() => {
        any.removeEventListener("abort", onAbort);
        resolve();
      }, ms);
      any.addEventListener("abort", onAbort, { once: true });
    });
  }

  #info(): string {
    const { schema } = this.#options;
    return `hostname=${hostName()}, pid=${process.pid}, schema=${schema}`;
  }
}

/** A sandbox may keep the host's name to itself. */
function hostName(): string {
  try {
    return hostname();
  } catch {
    return "unknown";
  }
}

function ownershipSql(schema: string) {
  const table = `${quoteIdentifier(schema)}.singlenodekey`;
  return {
    table,
    begin: statement({
      text: "BEGIN ISOLATION LEVEL READ COMMITTED",
      once: true,
    }),
    commit: statement({ text: "COMMIT", once: true }),
    rollback: statement({ text: "ROLLBACK", once: true }),
    listen: statement({ text: `LISTEN ${channel}`, once: true }),
    setTimeouts: statement({
      text: `SELECT pg_catalog.set_config('lock_timeout', '${rowLockMs}', true),
        pg_catalog.set_config('idle_in_transaction_session_timeout', '${idleMs}', true)`,
      columns: ["text", "text"],
      once: true,
    }),
    lockTable: statement({
      text: `LOCK TABLE ${table} IN SHARE ROW EXCLUSIVE MODE`,
      once: true,
    }),
    selectAll: statement({
      text: `SELECT info::pg_catalog.text FROM ${table}`,
      columns: ["text?"],
    }),
    selectIds: statement({
      text:
        `SELECT uuid::pg_catalog.text, storage_connection_time FROM ${table}`,
      columns: ["text", "timestamp"],
    }),
    replaceAll: statement({
      // Above every epoch that an earlier life of this name may have sent.
      text: `WITH replaced AS (
          DELETE FROM ${table} RETURNING uuid, storage_connection_time AS epoch)
        INSERT INTO ${table} (uuid, storage_connection_time, info)
        SELECT $1, greatest(pg_catalog.now()::timestamp,
          (SELECT pg_catalog.max(epoch) + interval '1 second' FROM replaced
            WHERE uuid::pg_catalog.text = $1)), $2
        RETURNING storage_connection_time`,
      params: ["text", "text"],
      columns: ["timestamp"],
    }),
    tryLock: statement({
      text: "SELECT pg_catalog.pg_try_advisory_lock($1)",
      params: ["int8"],
      columns: ["bool"],
    }),
  };
}
