/**
 * Waiting before the row is written, which the present owner does not notice.
 *
 * Until the schema is free (`whenOwned: "wait"`, and "fail" with less
 * patience). An owner holds the lock for as long as it lives and can be reached
 * (lock_session.ts). If the lock is free, there are three cases, which look the
 * same when there is a row:
 * - the owner has closed: then it has removed its row;
 * - it is dead: then its row stays;
 * - a starter, perhaps a node, has written the row and not yet tried the lock
 *   again; or the owner itself is connecting again. So with a row, the lock
 *   must stay free, and the rows unchanged, for longer than a starter's pause
 *   between two tries. Then the lock is taken, which only one of several that
 *   stand by can do. A row written after that is a later starter's: the lock is
 *   given back, and the wait begins again (ownership.ts).
 *
 * Until a live owner has had some time (`whenOwned: "take"`): see
 * `contendedMs`.
 */

import type { LogCode } from "../../telemetry/log_events.ts";
import { schemaOwned } from "../fence_errors.ts";
import type { LockWait } from "../lock_holder.ts";
import type { LockSession } from "./lock_session.ts";
import { pause } from "./pause.ts";
import { contendedMs, keyOf, ownerFacts, type OwnerRow } from "./rows.ts";

/** How often to look whether the schema is free. */
const lookMs = 250;
/** How long a lock beside a row must stay free; starters try once a second. */
const quietMs = 1200;
/** The pause before a second look, when a refusal or a success is near. */
const soonMs = 50;

/** The instance that stands by, and where it reports. */
export interface StandBy {
  schema: string;
  signal?: AbortSignal | undefined;
  /** Reports holders of the lock that have no row. */
  lockWait: LockWait;
  /** Ends the session if the store belongs on another server. */
  survey?: () => Promise<unknown>;
  onEvent(
    code: LogCode,
    message: string,
    details?: Record<string, unknown>,
  ): void;
}

/** The lock is free, and these are the rows. */
interface Quiet {
  key: string;
  since: number;
  /** On an old primary the lock is free, too, once its owner has moved on. */
  surveyed: Promise<unknown> | undefined;
}

/**
 * Takes the lock once the schema has no owner. Returns the key of the rows that
 * may be replaced.
 *
 * @throws {StreamStorageError} RESOURCE_EXHAUSTED (`schema_owned`) unless it
 *   should wait; the signal's reason; the driver's errors.
 */
export async function takeFreeLock(
  link: LockSession,
  { schema, signal, lockWait, survey, onEvent }: StandBy,
  whenOwned: "wait" | "fail",
): Promise<string> {
  let reported: string | undefined;
  let held = 0;
  let quiet: Quiet | undefined;
  for (;;) {
    const [isFree, rows] = await Promise.all([
      link.isLockFree(),
      link.rows(),
    ]);
    if (isFree) {
      held = 0;
      const key = keyOf(rows);
      if (quiet?.key !== key) {
        quiet = { key, since: performance.now(), surveyed: survey?.() };
      }
      const left = leftOf(quiet);
      if (left <= 0) {
        await quiet.surveyed;
        if (await link.tryLock()) return key;
      }
      await pause(Math.max(soonMs, Math.min(left, lookMs)), signal);
      continue;
    }
    quiet = undefined;
    held++;
    // Another one that stands by may have probed the lock just now.
    const isSure = held > 1;
    if (isSure && whenOwned === "fail") {
      throw schemaOwned(schema, ownerFacts(rows));
    }
    if (isSure && reported !== nameOf(rows)) {
      reported = nameOf(rows);
      onEvent(
        "ownership_standby",
        "Another instance owns the schema; this one stands by",
        { owner: ownerFacts(rows) },
      );
    }
    if (rows.length === 0) await lockWait.failed(link.session);
    await pause(isSure ? lookMs : soonMs, signal);
  }
}

/** Milliseconds that the lock must still stay free; none without a row. */
function leftOf({ key, since }: Quiet): number {
  return key === "" ? 0 : quietMs - (performance.now() - since);
}

function nameOf(rows: readonly OwnerRow[]): string {
  return rows.at(-1)?.uuid ?? "";
}

/**
 * Waits until a live owner that has just taken the schema from another has had
 * `restMs`, or is gone. Returns the key of the rows that may be replaced.
 *
 * @throws the signal's reason; the driver's errors.
 */
export async function backOff(
  link: LockSession,
  { signal, onEvent }: StandBy,
  restMs: number,
): Promise<string> {
  let reported: string | undefined;
  for (;;) {
    const rows = await link.rows();
    const left = contendedMs(rows, restMs);
    if (left === 0 || await link.isLockFree()) return keyOf(rows);
    if (reported !== nameOf(rows)) {
      reported = nameOf(rows);
      onEvent(
        "ownership_contended",
        "The owner has just taken the schema from another one; this one waits",
        { owner: ownerFacts(rows), waitMs: left },
      );
    }
    await pause(Math.min(left, lookMs), signal);
  }
}
