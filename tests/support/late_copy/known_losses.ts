/**
 * The thirteen kinds of combinations that lost acknowledged data before the fence
 * compared the epoch, when it compared only the owner.
 */
import { showCall } from "./calls.ts";
import type { Combination } from "./combinations.ts";
import type { PreparedName } from "./prepared_streams.ts";

interface KnownLoss {
  name: string;
  /** The prepared streams; default all. */
  prepared?: readonly PreparedName[];
  first: RegExp;
  /** One pattern for each later write. */
  later: readonly RegExp[];
}

const deleted = /^deleteStream/;
const created = /^createStreamStorage/;
const rebuiltAlike: readonly RegExp[] = [deleted, created];

/** The kinds; see the file's head. */
export const KNOWN_LOSSES: readonly KnownLoss[] = [
  { name: "deleted, then created", first: deleted, later: [created] },
  {
    name: "deleted, then rebuilt",
    first: deleted,
    later: [/^reinitializeStreamStorage/],
  },
  {
    name: "an event, then deleted and created again",
    prepared: ["new"],
    first: /^writeEvent/,
    later: rebuiltAlike,
  },
  {
    name: "blocks with a size, then deleted and created again",
    prepared: ["new"],
    first: /^writeMiniblocks \[with a size/,
    later: rebuiltAlike,
  },
  {
    name: "blocks without a size, then deleted and created again",
    prepared: ["new"],
    first: /^writeMiniblocks \[without a size/,
    later: rebuiltAlike,
  },
  { name: "created, then deleted", first: created, later: [deleted] },
  {
    name: "an ephemeral stream created, then deleted",
    first: /^createEphemeralStreamStorage/,
    later: [deleted],
  },
  {
    name: "rebuilt from nothing, then deleted",
    first: /^reinitializeStreamStorage \[unknown/,
    later: [deleted],
  },
  {
    name: "the first chunk, then deleted",
    prepared: ["unknown"],
    first: /^writeEphemeralMiniblock/,
    later: [deleted],
  },
  {
    name: "trimmed, then backfilled",
    first: /^trimStream \[to/,
    later: [/^writePrecedingMiniblocks/],
  },
  {
    name: "blocks deleted, then backfilled",
    first: /^debugDeleteMiniblocks \[the first/,
    later: [/^writePrecedingMiniblocks/],
  },
  {
    name: "backfilled, then trimmed above",
    prepared: ["trimmed"],
    first: /^writePrecedingMiniblocks$/,
    later: [/^trimStream \[to an older/],
  },
  {
    name: "normalized, then deleted and uploaded again",
    prepared: ["complete upload of no chunks"],
    first: /^normalizeEphemeralStream/,
    later: [deleted, /^createEphemeralStreamStorage \[of no chunks/],
  },
];

/** The combinations of one kind. */
export function combinationsOf(
  { prepared, first, later }: KnownLoss,
  all: readonly Combination[],
): Combination[] {
  return all.filter((combination) =>
    combination.scenario === "alone" &&
    (prepared?.includes(combination.prepared) ?? true) &&
    first.test(showCall(combination.first)) &&
    later.length === combination.later.length &&
    later.every((call, i) => call.test(showCall(combination.later[i]!)))
  );
}
