/** Rows of the owners' table, and what they say about their instances. */
import { printable } from "../../storage/foreign_text.ts";

/** One row: the instance that is, or is about to be, the owner. */
export interface OwnerRow {
  uuid: string;
  /** Its epoch, in microseconds. */
  epoch: bigint;
  info: string | null;
  /** By the server's clock. */
  ageMs: number;
}

/** An owner, as errors and events describe it. */
export interface OwnerFacts {
  /** Its name; a node's is a UUID. */
  name: string;
  /** When it took the schema, according to its row. */
  since: string;
  /** What it says about itself, mostly its host. */
  info: string | null;
}

/** Identifies rows and their epochs, to tell whether they have changed. */
export function keyOf(rows: readonly OwnerRow[]): string {
  return rows.map(({ uuid, epoch }) => `${epoch} ${uuid}`).join("\n");
}

/** Describes the newest of the rows; null if there is none. */
export function ownerFacts(rows: readonly OwnerRow[]): OwnerFacts | null {
  const row = rows.at(-1);
  if (row === undefined) return null;
  return {
    name: printable(row.uuid, 64),
    since: isoTime(row.epoch),
    info: row.info && printable(row.info, 200),
  };
}

/** The server counts from the beginning of 2000. */
function isoTime(epoch: bigint): string {
  const time = new Date(Number(epoch / 1000n) + Date.UTC(2000));
  // A row written by hand may have any time, even `infinity`.
  return Number.isNaN(time.getTime()) ? "unknown" : time.toISOString();
}

/** Ends the info of an instance that has taken the schema from a live owner. */
const fromLiveOwner = ", taken from a live owner";

/** The info in our row about this instance. */
export function infoText(place: string, isFromLiveOwner: boolean): string {
  return place + (isFromLiveOwner ? fromLiveOwner : "");
}

/**
 * Milliseconds until the schema may be taken again from an owner that has just
 * taken it from another; 0 for at once.
 *
 * An owner that found the schema free is replaced at once, as deployments need.
 * But an owner that replaced a live one will meet it again if its supervisor
 * restarts it: without a pause the two would replace each other as fast as they
 * start.
 */
export function contendedMs(
  rows: readonly OwnerRow[],
  restMs: number,
): number {
  const row = rows.at(-1);
  if (!row?.info?.endsWith(fromLiveOwner)) return 0;
  // A time in the future comes from another clock and says nothing.
  return row.ageMs < 0 ? 0 : Math.max(0, restMs - row.ageMs);
}
