import { sqlStateOf } from "../failures.ts";
import { endStuckWrites } from "../fence.ts";
import { bind, type ResultsOf } from "../statement.ts";
import { type LockSession, ownerRows } from "./lock_session.ts";
import { infoText, type OwnerRow } from "./rows.ts";
import type { OwnershipSql } from "./sql.ts";

/** The row that replaces others, and the conditions for it. */
export interface Replacement {
  sql: OwnershipSql;
  instanceId: string;
  /** Where this instance runs. */
  place: string;
  /** Milliseconds that no write of an owner exceeds. */
  stuckWriteMs: number;
  signal?: AbortSignal | undefined;
  /** Whether these rows may be replaced; they stay while the answer is used. */
  mayReplace(rows: OwnerRow[]): boolean;
  /** Called when writes of the last owner were ended. */
  onEnded(sessions: number): void;
}

/** How long to wait for the owner's writes, ending those that can be ended. */
const replaceMs = 60_000;

/**
 * Replaces all other rows by ours once their owners' writes have ended. Returns
 * our epoch and the other rows, or undefined if they may not be replaced.
 *
 * This takes two flushes. If one flush did it all, a late copy of it, whose
 * starter is long gone, would stop the owner and leave no owner at all. A late
 * copy of the first flush takes a lock that the owner does not notice, and soon
 * loses it; a late copy of the second finds no transaction.
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

/** Whether the owner's lock is free, and the rows, which can't change now. */
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

/** Writes lock the row; a lock too old for a write has lost its client. */
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
    // It belongs to another role, so wait for it.
    if (sqlStateOf(error) !== "42501") throw error;
  }
}
