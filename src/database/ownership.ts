/**
 * One writer per schema: the protocol that instances of this module and the
 * existing nodes share (the table, its notifications and the lock).
 *
 * What is shared
 * - the *row*: table `singlenodekey` has the row of the instance that is, or is
 *   about to be, the owner. Inserting a row notifies channel `singlenodekey`.
 * - the *lock*: a session advisory lock, key `schemaLockId(schema)`.
 *
 * States of an instance
 *
 *     standing by ── lock free, lock taken ──┐
 *                                            ▼
 *     starting ── row written ──▶ waiting ── lock taken, delay over ──▶ owner
 *         │                          │ row gone                          │
 *         │ aborted                  ▼                                   │
 *         └──────────────────▶   stopped ◀── row gone, lock not back ────┘
 *
 * - standing by (`whenOwned: "wait"`): looks now and then whether the lock is
 *   free, and takes it before it writes its row (ownership/standing_by.ts). If
 *   a row is written in between, it is that of a starter, which waits for the
 *   lock: the lock is given back. So a starter comes before instances that
 *   stand by, and the lock lets only one of these write its row.
 * - starting: LISTEN is in place before the row is written, so no later
 *   takeover goes unnoticed. Writing the row removes all others, under a table
 *   lock that starters and nodes respect: of two starters the later one remains
 *   alone in the table. The change is sent only after the answer about the
 *   lock, so it is never executed for a starter that has been gone for long.
 *   The change waits for the running writes of the present owner. A write that
 *   takes longer than any write may has lost its client halfway (for example,
 *   the client froze while sending) and is ended. If the owner has only just
 *   replaced another live one, the starter waits for a while
 *   (ownership/rows.ts).
 * - waiting: tries the lock, at first often, then once a second, and reports
 *   its holder if that lasts (lock_holder.ts). Each time it notifies again: a
 *   node whose row we have removed listens only once it has the lock, and would
 *   otherwise keep the lock for ever. If its own row is gone, during the delay
 *   too, yet another instance has started, and this one stops.
 * - owner: checks the table after every notification for its schema, at a slow
 *   beat, and after every reconnection of its lock session. If the lock session
 *   breaks, the owner connects again and continues if the row is still its own
 *   and the lock is available; meanwhile the fence keeps writes safe. The
 *   server ends the lock session of an owner that is silent
 *   (ownership/lock_session.ts).
 * - stopped is final: `signal` aborts, every call rejects. Running writes end,
 *   then the lock is released and the successor's wait is over.
 *
 * A row is ours if it has our name and one of our times: an instance that is
 * restarted under the same name is another one. We change the time ourselves
 * when a write has lost its answer (fence.ts); nodes compare only the name, and
 * after the notification of that change they find our row in place.
 *
 * Every write begins with the fence (fence.ts), which locks the rows FOR SHARE
 * and stops the transaction unless our row is the only one. Proof that no write
 * of a former owner commits after a successor has written its row: a
 * successor's DELETE waits for every transaction that holds the share lock, so
 * each of those ends before the row is gone. A fence that runs later finds no
 * row: it waits for a running DELETE, and under higher isolation levels it
 * fails with 40001 and finds no row at its next attempt. There is a second row
 * only if a node whose snapshot was too old to see ours has left it; that node
 * is the later one and waits for the lock. This needs no clock, no timely
 * notification and no lock session: an owner that was frozen for a day finds
 * the fence closed at its first write. Since only the row decides, the owner's
 * two connections can break independently.
 */

import { messageOf } from "../storage/foreign_text.ts";
import type { Fence } from "./fence.ts";
import { ownershipLost } from "./fence_errors.ts";
import type { LockWait } from "./lock_holder.ts";
import { leaveSchema } from "./ownership/leave_schema.ts";
import { LockSession } from "./ownership/lock_session.ts";
import { lockWait, type OwnershipOptions } from "./ownership/options.ts";
import { pause } from "./ownership/pause.ts";
import { type OwnershipSql, ownershipSql } from "./ownership/sql.ts";
import { pollMs, type Taken, Taking } from "./ownership/taking.ts";

/** How long to try for a lost lock while the row is still ours. */
const recoverMs = 60_000;

/** This instance's ownership of a schema; see the head of this file. */
export class Ownership {
  readonly #options: OwnershipOptions;
  readonly #stopped = new AbortController();
  /** Ends every wait when the instance stops or closes. */
  readonly #ended = new AbortController();
  readonly #sql: OwnershipSql;
  #fence: Fence | undefined;
  #link: LockSession | undefined;
  #onReconnection: () => void = () => {};
  #beforeRelease: () => Promise<void> = () => Promise.resolve();
  #checking: Promise<void> | undefined;
  #checkAgain = false;
  #isReleased = false;
  #beat: ReturnType<typeof setInterval> | undefined;

  private constructor(options: OwnershipOptions) {
    this.#options = options;
    const { home } = options;
    this.#sql = ownershipSql(home.table("singlenodekey"), home.channels);
  }

  /**
   * Becomes the owner; waits for the present owner to leave, until the signal
   * aborts.
   *
   * @throws {StreamStorageError} RESOURCE_EXHAUSTED (`ownership_lost`) when
   *   another instance started meanwhile, (`schema_owned`) when the schema must
   *   not be taken from its owner; the signal's reason; the driver's errors.
   */
  static async take(options: OwnershipOptions): Promise<Ownership> {
    const ownership = new Ownership(options);
    const taking = new Taking(options, ownership.#sql, {
      onChange: () => ownership.#check(),
      onClosed: (isReplaced) => ownership.stop(isReplaced),
    });
    ownership.#hold(await taking.take());
    return ownership;
  }

  /** Aborts when this instance must stop; the reason is for the callers. */
  get signal(): AbortSignal {
    return this.#stopped.signal;
  }

  /** Whether ownership was given up: others may change what is stored. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** The fence that every write must pass. */
  get fence(): Fence {
    return this.#fence!;
  }

  /** Called when the lock session is back, maybe with commits lost. */
  onReconnection(callback: () => void): void {
    this.#onReconnection = callback;
  }

  /** Sets the work that must end before the lock is released. */
  beforeRelease(callback: () => Promise<void>): void {
    this.#beforeRelease = callback;
  }

  /** Stops for good: our row is gone, or another session holds the lock. */
  stop(isReplaced: boolean): void {
    if (this.#ended.signal.aborted) return;
    const error = ownershipLost({ isReplaced });
    this.#options.onEvent("ownership_lost", error.message, { isReplaced });
    this.#end();
    this.#stopped.abort(error);
    void this.#beforeRelease().finally(() => this.#link?.close());
  }

  /**
   * Gives up ownership: removes our row, releases the lock. A server that does
   * not answer within the budget is left alone.
   */
  async release(budgetMs: number): Promise<void> {
    this.#isReleased = true;
    this.#end();
    const link = this.#link;
    if (link === undefined) return;
    this.#link = undefined;
    // Node accepts no fraction of a millisecond.
    const signal = AbortSignal.timeout(Math.ceil(budgetMs));
    await leaveSchema(link.session, this.fence, this.#options, signal);
  }

  #hold({ link, fence }: Taken): void {
    const { onEvent, survey } = this.#options;
    this.#link = link;
    this.#fence = fence;
    // The session leaves the lock behind; recovery takes it at the new place.
    this.#options.home.listen({
      onLost: () => this.#link?.session.destroy("The schema has moved"),
    });
    onEvent("ownership_taken", "This instance owns the schema");
    this.#beat = setInterval(() => {
      this.#check();
      void survey?.();
    }, link.beatMs);
    this.#watch(link);
    // A notification may have come together with the last answer.
    this.#check();
  }

  #end(): void {
    clearInterval(this.#beat);
    this.#ended.abort();
  }

  #watch(link: LockSession): void {
    void link.session.closed.then(() => {
      if (!this.#ended.signal.aborted) void this.#recover();
    });
  }

  /** Checks the table; a request during a check leads to one more check. */
  #check(): void {
    // Until our row is written, and while the session is lost, others check it.
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
        const whose = await this.#link!.whose(this.fence);
        if (whose !== "ours") return this.stop(whose === "another's");
      } catch {
        // The session broke; the recovery checks the table.
        return;
      }
    }
  }

  async #connected(): Promise<LockSession> {
    if (this.#link?.usable) return this.#link;
    const link = await LockSession.open(
      this.#options,
      this.#sql,
      () => this.#check(),
    );
    this.#link = link;
    return link;
  }

  /** Called when the lock session is lost: restores it, or stops. */
  async #recover(): Promise<void> {
    const { onEvent } = this.#options;
    onEvent("ownership_session_lost", "The lock session broke");
    let lockWanted: number | undefined;
    let wait: LockWait | undefined;
    for (let attempt = 0; !this.#ended.signal.aborted; attempt++) {
      try {
        const link = await this.#connected();
        if (this.#ended.signal.aborted) return await link.close();
        const whose = await link.whose(this.fence);
        if (whose !== "ours") return this.stop(whose === "another's");
        if (await link.tryLock()) {
          this.#onReconnection();
          onEvent("ownership_session_back", "The lock session is back");
          return this.#watch(link);
        }
        await link.remind(this.fence);
        lockWanted ??= performance.now();
        await (wait ??= lockWait(this.#options)).failed(link.session);
        if (performance.now() - lockWanted > recoverMs) return this.stop(true);
      } catch (error) {
        onEvent("ownership_session_retry", "The lock session is not back", {
          cause: messageOf(error),
        });
      }
      // Jittered, because the owners of many schemas wait for the same server.
      const waitMs = Math.min(pollMs, 50 * 2 ** attempt);
      await pause(waitMs * (0.5 + Math.random() / 2), this.#ended.signal)
        .catch(() => {});
    }
  }
}
