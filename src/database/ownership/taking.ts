/**
 * Becoming the owner: the way from "starting" to "owner" in the states of
 * ownership.ts, with all its waits.
 */

import { hostname } from "node:os";
import process from "node:process";
import { messageOf } from "../../storage/foreign_text.ts";
import { HomeChangedError } from "../cluster/home.ts";
import { toStorageError } from "../failures.ts";
import { Fence } from "../fence.ts";
import { ownershipLost, schemaOwned } from "../fence_errors.ts";
import { leaveSchema } from "./leave_schema.ts";
import { LockSession } from "./lock_session.ts";
import { lockWait, type OwnershipOptions } from "./options.ts";
import { pause } from "./pause.ts";
import { replaceRows } from "./replace_rows.ts";
import { contendedMs, keyOf, ownerFacts, type OwnerRow } from "./rows.ts";
import type { OwnershipSql } from "./sql.ts";
import { backOff, type StandBy, takeFreeLock } from "./standing_by.ts";

/** What {@linkcode Taking} reports to its instance. */
export interface TakingEvents {
  /** Called when a row was written or changed. */
  onChange(): void;
  /** Called when the fence was closed. */
  onClosed(isReplaced: boolean): void;
}

/** What an owner holds. */
export interface Taken {
  link: LockSession;
  fence: Fence;
}

/** How often a starter tries the lock, after some faster tries. */
export const pollMs = 1000;
/**
 * For how many start-up delays an owner keeps a schema taken from a live one:
 * enough to work most of the time, however often they replace each other.
 */
const restDelays = 15;

/** One instance that becomes the owner; see the head of this file. */
export class Taking {
  readonly #options: OwnershipOptions;
  readonly #sql: OwnershipSql;
  readonly #events: TakingEvents;
  #link: LockSession | undefined;
  #fence: Fence | undefined;

  constructor(
    options: OwnershipOptions,
    sql: OwnershipSql,
    events: TakingEvents,
  ) {
    this.#options = options;
    this.#sql = sql;
    this.#events = events;
  }

  /** Takes the schema, or leaves nothing behind. */
  async take(): Promise<Taken> {
    const { whenOwned } = this.#options;
    try {
      return whenOwned === "take"
        ? await this.#takeFromOwner()
        : await this.#takeWhenFree(whenOwned);
    } catch (error) {
      await this.#leave();
      throw error;
    }
  }

  /** Writes the row, then waits for the lock. */
  async #takeFromOwner(): Promise<Taken> {
    const { signal, startupDelayMs } = this.#options;
    const link = await this.#connect();
    await this.#prepare(link);
    const restMs = restDelays * startupDelayMs;
    let allowed: string | undefined;
    const mayReplace = (rows: OwnerRow[]) =>
      keyOf(rows) === allowed || contendedMs(rows, restMs) === 0;
    let fence = await this.#replaceRows(link, mayReplace);
    while (fence === undefined) {
      allowed = await backOff(link, this.#standBy(), restMs);
      fence = await this.#replaceRows(link, mayReplace);
    }
    const taken = { link, fence };
    if (await link.tryLock()) return taken;
    await this.#waitForLock(taken);
    // A replaced owner may still have work to do elsewhere.
    for (let left = startupDelayMs; left > 0; left -= pollMs) {
      await pause(Math.min(pollMs, left), signal);
      await assertOurs(taken);
    }
    return taken;
  }

  async #prepare(link: LockSession): Promise<void> {
    await link.whileBusy(() => this.#options.prepare(link.session));
    // A table that `prepare` created is distributed only now.
    await this.#checkHome(link);
  }

  /** On a cluster the schema may be elsewhere; then everything starts there. */
  async #checkHome(link: LockSession): Promise<void> {
    if (!link.isOnCluster) return;
    if (await this.#options.home.isKnownAt(link.session)) return;
    throw new HomeChangedError("The schema is on a server of a cluster");
  }

  /** Waits until the former owner, or any earlier starter, frees the lock. */
  async #waitForLock({ link, fence }: Taken): Promise<void> {
    const wait = lockWait(this.#options);
    for (let waitMs = 50;; waitMs = Math.min(pollMs, waitMs * 2)) {
      await assertOurs({ link, fence });
      if (await link.tryLock()) return;
      await wait.failed(link.session);
      if (waitMs === pollMs) await link.remind(fence);
      await pause(waitMs, this.#options.signal);
    }
  }

  /**
   * Takes the lock, then writes the row. An instance that stands by survives
   * the loss of its session, as an owner does.
   */
  async #takeWhenFree(whenOwned: "wait" | "fail"): Promise<Taken> {
    const { signal, onEvent, survey } = this.#options;
    let [hasStoodBy, isBroken] = [false, false];
    for (;;) {
      try {
        const link = await this.#connect();
        if (isBroken) onEvent("ownership_session_back", "Standing by again");
        [hasStoodBy, isBroken] = [true, false];
        const taken = await this.#takeLockFirst(link, whenOwned);
        if (taken !== undefined) return taken;
      } catch (error) {
        const mayWait = hasStoodBy && whenOwned === "wait" && isPassing(error);
        if (!mayWait || signal?.aborted) throw error;
        const cause = messageOf(error);
        if (!isBroken) {
          onEvent("ownership_session_lost", "Standing by broke off", { cause });
        }
        isBroken = true;
        await survey?.();
      }
      // Frees for others whatever the session holds.
      await this.#leave();
      await pause(pollMs * (0.5 + Math.random() / 2), signal);
    }
  }

  /** Returns undefined if a starter came meanwhile and waits for the lock. */
  async #takeLockFirst(
    link: LockSession,
    whenOwned: "wait" | "fail",
  ): Promise<Taken | undefined> {
    const allowed = await takeFreeLock(link, this.#standBy(), whenOwned);
    await this.#prepare(link);
    let found: OwnerRow[] = [];
    const fence = await this.#replaceRows(link, (rows) => {
      found = rows;
      return keyOf(rows) === allowed;
    });
    if (fence !== undefined) return { link, fence };
    if (whenOwned === "wait") return undefined;
    throw schemaOwned(this.#options.schema, ownerFacts(found));
  }

  /** Replaces all other rows by ours, if they may be replaced. */
  async #replaceRows(
    link: LockSession,
    mayReplace: (rows: OwnerRow[]) => boolean,
  ): Promise<Fence | undefined> {
    const { instanceId, stuckWriteMs, signal, onEvent } = this.#options;
    const ended = "A write of the last owner was stuck";
    const replaced = await replaceRows(link, {
      sql: this.#sql,
      instanceId,
      place: this.#place(),
      stuckWriteMs,
      signal,
      mayReplace,
      onEnded: (sessions) =>
        onEvent("ownership_write_ended", ended, { sessions }),
    });
    if (replaced === undefined) return undefined;
    const { epoch, others } = replaced;
    this.#fence = new Fence({
      table: this.#sql.table,
      instanceId,
      epoch,
      onRaised: () =>
        onEvent("ownership_epoch_raised", "An earlier write is final now"),
      onClosed: (isReplaced) => this.#events.onClosed(isReplaced),
    });
    if (others.length > 0) {
      onEvent("ownership_takeover", "The row of another instance is replaced", {
        others: others.map((row) => ownerFacts([row])),
      });
    }
    return this.#fence;
  }

  async #connect(): Promise<LockSession> {
    this.#link = await LockSession.open(
      this.#options,
      this.#sql,
      () => this.#events.onChange(),
      this.#options.signal,
    );
    await this.#checkHome(this.#link);
    return this.#link;
  }

  async #leave(): Promise<void> {
    const [link, fence] = [this.#link, this.#fence];
    this.#link = undefined;
    this.#fence = undefined;
    if (link !== undefined) {
      await leaveSchema(link.session, fence, this.#options);
    }
  }

  #standBy(): StandBy {
    return { ...this.#options, lockWait: lockWait(this.#options) };
  }

  #place(): string {
    const { schema } = this.#options;
    return `hostname=${hostName()}, pid=${process.pid}, schema=${schema}`;
  }
}

async function assertOurs({ link, fence }: Taken): Promise<void> {
  const whose = await link.whose(fence);
  if (whose === "ours") return;
  throw ownershipLost({ isReplaced: whose === "another's" });
}

/** Whether the server is unreachable, or too slow. */
function isPassing(error: unknown): boolean {
  const { code } = toStorageError(error);
  return code === "UNAVAILABLE" || code === "DEADLINE_EXCEEDED";
}

/** A sandbox may hide the host's name. */
function hostName(): string {
  try {
    return hostname();
  } catch {
    return "unknown";
  }
}
