import { sqlStateOf } from "../failures.ts";
import { endStuckWrites } from "../fence.ts";
import { bind, type ResultsOf } from "../statement.ts";
import { type LockSession, ownerRows } from "./lock_session.ts";
import { infoText, type OwnerRow } from "./rows.ts";
import type { OwnershipSql } from "./sql.ts";

/** What is put in the place of other rows, and when. */
export interface Replacement {
  sql: OwnershipSql;
  instanceId: string;
  /** Where this instance runs. */
  place: string;
  /** Milliseconds that no write of an owner takes. */
  stuckWriteMs: number;
  signal?: AbortSignal | undefined;
  /** Whether these rows may be replaced; they stay until the answer is used. */
  mayReplace(rows: OwnerRow[]): boolean;
  /** Writes of the last owner were ended. */
  onEnded(sessions: number): void;
}

/** How long the writes of the owner are waited for, and ended if they can be. */
const replaceMs = 60_000;

/**
 * Puts our row in the place of all others once their writes have ended; returns
 * our epoch and the others, or undefined if they may not be replaced.
 *
 * In two flushes. If the one that changes the table were the only one, a late
 * copy of it, its starter long gone, would stop the owner and leave nobody. Of
 * the first, a late copy takes a lock that the owner does not feel, and loses it
 * soon; nor does the second find a transaction then.
 */
export async function replaceRows(
  link: LockSession,
  replacement: Replacement,
): Promise<{ epoch: bigint; others: OwnerRow[] } | undefined> {
  const { sql, instanceId, place, mayReplace, signal } = replacement;
  const deadline = performance.now() + replaceMs;
  for (;;) {
    try {
      const { probe, others } = await lockRows(link, sql);
      if (!mayReplace(others)) {
        await link.run([bind(sql.rollback)]);
        return undefined;
      }
      const isFromLiveOwner = others.length > 0 && !probe;
      const [{ rows: [own] }] = await link.run([
        bind(sql.replaceAll, instanceId, infoText(place, isFromLiveOwner)),
        bind(sql.commit),
      ]);
      return { epoch: own![0], others };
    } catch (error) {
      const isLocked = sqlStateOf(error) === "55P03";
      if (!isLocked || performance.now() > deadline) throw error;
      await link.run([bind(sql.rollback)]);
      signal?.throwIfAborted();
      await endStuck(link, replacement);
    }
  }
}

/** Whether the owner's lock is free, and the rows, which nobody changes now. */
async function lockRows(
  link: LockSession,
  sql: OwnershipSql,
): Promise<{ probe: boolean; others: OwnerRow[] }> {
  const results = await link.run([
    bind(sql.begin),
    bind(sql.setTimeouts),
    ...link.writeGuard,
    bind(sql.lockTable),
    link.probe,
    bind(sql.selectRows),
  ]);
  const [probe, found] = results.slice(-2) as [
    ResultsOf<[LockSession["probe"]]>[0],
    Parameters<typeof ownerRows>[0],
  ];
  return { probe: probe.rows[0]?.[0] === true, others: ownerRows(found) };
}

/** Writes hold the row; one that is too old for a write has no client. */
async function endStuck(
  link: LockSession,
  { sql, stuckWriteMs, onEnded }: Replacement,
): Promise<void> {
  const ms = BigInt(stuckWriteMs);
  try {
    const [{ rows }] = await link.run([
      bind(endStuckWrites, sql.table, ms, ms),
    ]);
    if (rows.length > 0) onEnded(rows.length);
  } catch (error) {
    // Of another role: it must be waited for.
    if (sqlStateOf(error) !== "42501") throw error;
  }
}
