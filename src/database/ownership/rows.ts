/** Rows of the owners' table, as they tell of their instances. */
import { printable } from "../../storage/foreign_text.ts";

/** One row: the instance that is, or is about to be, the owner. */
export interface OwnerRow {
  uuid: string;
  /** Its time, in microseconds. */
  epoch: bigint;
  info: string | null;
  /** By the server's clock. */
  ageMs: number;
}

/** An owner, as errors and events tell of it. */
export interface OwnerFacts {
  /** What names it; a node's is a UUID. */
  name: string;
  /** When it took the schema, as its row says. */
  since: string;
  /** What it says of itself, mostly its host. */
  info: string | null;
}

/** Tells whether rows are still the same, each with its epoch. */
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
  // A row that somebody wrote may have any time, `infinity` included.
  return Number.isNaN(time.getTime()) ? "unknown" : time.toISOString();
}

/** Ends the text of an instance that has taken the schema from a live owner. */
const fromLiveOwner = ", taken from a live owner";

/** What our row says of this instance. */
export function infoText(place: string, isFromLiveOwner: boolean): string {
  return place + (isFromLiveOwner ? fromLiveOwner : "");
}

/**
 * Milliseconds until the schema may be taken again from an owner that has just
 * taken it from another; 0 at once.
 *
 * An owner that found the schema free is replaced at once, as a deployment wants
 * it. But one that has replaced a live owner meets that one again, if whatever
 * runs it starts it anew: without a pause the two would replace each other as
 * fast as they start.
 */
export function contendedMs(
  rows: readonly OwnerRow[],
  restMs: number,
): number {
  const row = rows.at(-1);
  if (!row?.info?.endsWith(fromLiveOwner)) return 0;
  // A time in the future is that of another clock: it says nothing.
  return row.ageMs < 0 ? 0 : Math.max(0, restMs - row.ageMs);
}
