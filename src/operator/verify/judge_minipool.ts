/** Judges the minipool of a regular stream. */

import type { StreamFacts } from "./facts.ts";
import { detail, type Report } from "./findings.ts";

/** A minipool's row: its generation and slot. */
export type MinipoolKey = readonly [generation: bigint, slot: bigint];

/**
 * Reports a minipool that is not the marker and the events 0, 1, … of the last
 * block's number + 1.
 */
export function judgeMinipool(
  { minipool }: StreamFacts,
  { last, keys }: { last: bigint; keys: readonly MinipoolKey[] },
  report: Report,
): void {
  const generation = last + 1n;
  const { n, lowest, highest, firstSlot, lastSlot, bare, marker } = minipool;
  const details = {
    generation: detail(generation),
    rows: detail(n),
    lowest: detail(lowest),
    highest: detail(highest),
    marker: detail(marker),
    onlyMarker: isOnlyMarkerWrong(minipool, keys, generation),
  };
  if (n === 0n) {
    const what = "The minipool has no marker, and nothing else";
    report("error", "minipool_hole", what, details);
  } else if (lowest !== highest) {
    const what = `The minipool has rows of two generations, ${lowest} and ` +
      `${highest}; expected ${generation}`;
    report("error", "minipool_generation", what, details);
  } else if (lowest !== generation) {
    const what = `The minipool is of generation ${lowest}; expected ` +
      `${generation}, the last block's number + 1`;
    report("error", "minipool_generation", what, details);
  } else if (firstSlot !== -1n) {
    report("error", "minipool_hole", "The minipool has no marker", details);
  } else if (lastSlot !== n - 2n) {
    const what = `The minipool has ${n} rows, its last slot is ${lastSlot}`;
    report("error", "minipool_hole", what, details);
  } else if (bare !== 1n) {
    const what = bare === 0n
      ? "The minipool's marker holds data"
      : `${bare - 1n} slots of the minipool hold no event`;
    report("error", "minipool_hole", what, { ...details, onlyMarker: false });
  }
}

/**
 * Whether no event is missing or of another generation, so that a new marker
 * repairs the minipool. A marker of a later generation without events means
 * that blocks were lost; a new marker would hide that.
 */
function isOnlyMarkerWrong(
  { n }: StreamFacts["minipool"],
  keys: readonly MinipoolKey[],
  generation: bigint,
): boolean {
  if (n !== BigInt(keys.length)) return false;
  const events = keys.filter(([, slot]) => slot >= 0n);
  if (events.length === 0) return keys.every(([of]) => of <= generation);
  return events.every(([of, slot], i) =>
    of === generation && slot === BigInt(i)
  );
}
