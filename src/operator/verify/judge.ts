/**
 * Judges what is stored of one stream. The functions are pure: the figures come
 * from one snapshot (facts.ts), further facts from a closer look (inspect.ts).
 */

import type { ArchivePolicy } from "./archives.ts";
import { isArchive } from "./archives.ts";
import { extentOf, isContiguous, type StreamFacts } from "./facts.ts";
import { detail, type Finding, type Report } from "./findings.ts";
import { judgeMinipool, type MinipoolKey } from "./judge_minipool.ts";

/** Where the rows were found, and which streams are archive streams. */
export interface JudgeContext {
  /** The partition of the tables. */
  suffix: string;
  /** The partition to which the stream's id belongs. */
  rightSuffix: string;
  archives: ArchivePolicy;
}

/** A range of missing numbers. */
export type Gap = readonly [from: bigint, to: bigint];

/** The facts that only a closer look reveals. */
export interface CloserLook {
  /** The gaps, ascending. */
  gaps: readonly Gap[];
  /** Whether the latest snapshot's block holds a snapshot inside its data. */
  latestIsLegacy: boolean;
  /**
   * A block of the last run that the latest snapshot could name; null: none.
   */
  pointerTo: bigint | null;
  /** The rows of a minipool with a fault. */
  minipoolKeys: readonly MinipoolKey[];
  /** The first few blocks without data. */
  bareBlocks: readonly bigint[];
}

/** Reports everything that is wrong with a stream, or unusual. */
export function judge(
  facts: StreamFacts,
  look: CloserLook,
  context: JudgeContext,
): Finding[] {
  const findings: Finding[] = [];
  const { streamId } = facts;
  const report: Report = (severity, finding, what, details = {}) =>
    findings.push({ severity, finding, streamId, what, details });
  if (context.suffix !== context.rightSuffix) {
    judgeMisplaced(facts, context, report);
  } else if (facts.stream === undefined) {
    if (!facts.isBeingDeleted) judgeOrphans(facts, context, report);
  } else {
    judgeKnown(facts, look, context, report);
  }
  return findings;
}

/** An empty closer look, to judge the figures alone. */
const nothing: CloserLook = {
  gaps: [],
  latestIsLegacy: true,
  pointerTo: null,
  minipoolKeys: [],
  bareBlocks: [],
};

/** Whether a stream may have findings and so needs a closer look. */
export function isSuspect(facts: StreamFacts, context: JudgeContext): boolean {
  if (judge(facts, nothing, context).length > 0) return true;
  if (facts.stream === undefined || facts.stream.ephemeral) return false;
  if (isArchive(facts, context.archives)) return false;
  return !isContiguous(extentOf(facts)) || needsDecoding(facts);
}

/**
 * Whether only the data of the latest snapshot's block show if it has a
 * snapshot.
 */
function needsDecoding({ stream, blocks }: StreamFacts): boolean {
  if (stream === undefined || stream.location !== "D") return false;
  if (blocks.latestHasOwn !== false) return false;
  // A genesis may lack a snapshot until the stream has its first one.
  return stream.latest !== 0n || blocks.snapshot !== null;
}

function judgeMisplaced(
  { blocks, minipool, candidates, places }: StreamFacts,
  { suffix, rightSuffix }: JudgeContext,
  report: Report,
): void {
  const rows = {
    blocks: detail(blocks.n),
    minipool: detail(minipool.n),
    candidates: detail(candidates.n),
    places: detail(places.n),
  };
  if (Object.values(rows).every((n) => n === 0)) return;
  report(
    "error",
    "wrong_partition",
    `Rows are in the tables of partition ${suffix}, where no node looks for ` +
      `them: the stream belongs to ${rightSuffix}`,
    { suffix, rightSuffix, ...rows },
  );
}

function judgeOrphans(
  { blocks, minipool, candidates, places }: StreamFacts,
  { suffix }: JudgeContext,
  report: Report,
): void {
  const kinds = [
    ["orphan_blocks", `miniblocks_${suffix}`, blocks.n],
    ["orphan_blocks", `miniblocks_ext_${suffix}`, places.n],
    ["orphan_minipool", `minipools_${suffix}`, minipool.n],
    ["orphan_candidates", `miniblock_candidates_${suffix}`, candidates.n],
  ] as const;
  for (const [finding, table, n] of kinds) {
    if (n === 0n) continue;
    const what = `${n} rows in ${table} are of a stream that es does not know`;
    report("error", finding, what, { table, rows: detail(n) });
  }
}

function judgeKnown(
  facts: StreamFacts,
  look: CloserLook,
  context: JudgeContext,
  report: Report,
): void {
  const { ephemeral } = facts.stream!;
  const archive = isArchive(facts, context.archives);
  judgeLocation(facts, report);
  const { last, n } = extentOf(facts);
  if (n === 0n) return judgeNoBlocks(facts, archive, report);
  judgeBare(facts, look, report);
  if (ephemeral || archive) {
    judgeUnexpected(facts, archive ? "archive" : "ephemeral", report);
  } else {
    judgeSnapshot(facts, look, report);
    judgeMinipool(facts, { last: last!, keys: look.minipoolKeys }, report);
  }
  if (!ephemeral) {
    judgeGaps(facts, look, report);
    judgeCandidates(facts, last!, report);
  }
}

function judgeLocation(facts: StreamFacts, report: Report): void {
  const { blocks, places, isBeingMoved } = facts;
  const { location } = facts.stream!;
  const details = {
    location,
    blocks: detail(blocks.n),
    places: detail(places.n),
  };
  if (location === "D" && places.n > 0n) {
    const what = "The blocks are in the database, but miniblocks_ext has " +
      `${places.n} places in object storage for them`;
    report("error", "location", what, details);
  }
  if (location === "D") return;
  if (blocks.n > 0n && !isBeingMoved) {
    const what = `The blocks are in object storage, but ${blocks.n} are in ` +
      "the database as well";
    report("error", "location", what, details);
  }
  if (places.n === 0n) {
    const what = "The blocks are in object storage, but miniblocks_ext has " +
      "no place for any of them";
    report("error", "location", what, details);
  }
  if (places.misfits > 0n) {
    const what = `${places.misfits} places in object storage do not begin ` +
      "where the one before ends, or have no size";
    const misfits = detail(places.misfits);
    report("error", "location", what, { ...details, misfits });
  }
}

function judgeNoBlocks(
  { stream, minipool, candidates }: StreamFacts,
  archive: boolean,
  report: Report,
): void {
  // The location is reported instead.
  if (stream!.location !== "D") return;
  if (archive && minipool.n === 0n) {
    return report("note", "no_blocks", "An archive stream without a block yet");
  }
  report("error", "no_blocks", "The stream has no block", {
    minipool: detail(minipool.n),
    candidates: detail(candidates.n),
  });
}

function judgeBare(
  { blocks, candidates }: StreamFacts,
  { bareBlocks }: CloserLook,
  report: Report,
): void {
  if (blocks.bare > 0n) {
    report("error", "empty_block", `${blocks.bare} blocks have no data`, {
      table: "miniblocks",
      rows: detail(blocks.bare),
      blocks: bareBlocks.map(detail),
    });
  }
  if (candidates.bare > 0n) {
    const what = `${candidates.bare} candidates have no data`;
    const rows = detail(candidates.bare);
    report("error", "empty_block", what, {
      table: "miniblock_candidates",
      rows,
    });
  }
}

function judgeUnexpected(
  { minipool }: StreamFacts,
  kind: string,
  report: Report,
): void {
  if (minipool.n === 0n) return;
  const what = `A stream that is ${kind} has ${minipool.n} minipool rows`;
  report("error", "minipool_unexpected", what, {
    kind,
    rows: detail(minipool.n),
  });
}

/**
 * Why the latest snapshot is wrong; undefined: it is right, or a gap is the
 * reason.
 */
export function pointerFault(
  facts: StreamFacts,
  { gaps, latestIsLegacy, pointerTo }: CloserLook,
): string | undefined {
  const { latest, location } = facts.stream!;
  const { first, last } = extentOf(facts);
  if (latest < 0n) return `is ${latest}`;
  const isStored = latest >= first! && latest <= last! &&
    !gaps.some(([from, to]) => latest >= from && latest <= to);
  if (!isStored) return "names no stored block";
  const isBare = location === "D" && facts.blocks.latestHasOwn === false;
  if (isBare && needsDecoding(facts) && !latestIsLegacy) {
    return "names a block without a snapshot";
  }
  // Without a snapshot after the gap, the missing blocks are the fault.
  const isOutside = latest < startOfLastRun(facts, gaps);
  return isOutside && pointerTo !== null
    ? "names a block outside the last run"
    : undefined;
}

/** The first block after the last gap. */
export function startOfLastRun(
  facts: StreamFacts,
  gaps: readonly Gap[],
): bigint {
  const lastGap = gaps.at(-1);
  return lastGap === undefined ? extentOf(facts).first! : lastGap[1] + 1n;
}

function judgeSnapshot(
  facts: StreamFacts,
  look: CloserLook,
  report: Report,
): void {
  const fault = pointerFault(facts, look);
  if (fault === undefined) return;
  const { first, last } = extentOf(facts);
  report("error", "snapshot_pointer", `The latest snapshot ${fault}`, {
    latest: detail(facts.stream!.latest),
    first: detail(first),
    last: detail(last),
    snapshot: detail(look.pointerTo),
  });
}

/** The most gaps that a finding lists. */
const shownGaps = 20;

function judgeGaps(facts: StreamFacts, look: CloserLook, report: Report): void {
  const { gaps, pointerTo } = look;
  // If the latest snapshot is wrong, it does not show which gaps matter.
  const isWrong = pointerFault(facts, look) !== undefined;
  const latest = isWrong && pointerTo !== null
    ? pointerTo
    : facts.stream!.latest;
  const isAfter = ([, to]: Gap) => to > latest;
  for (const severity of ["error", "note"] as const) {
    const some = gaps.filter((gap) => isAfter(gap) === (severity === "error"));
    if (some.length === 0) continue;
    const missing = some.reduce((n, [from, to]) => n + to - from + 1n, 0n);
    const where = severity === "error" ? "after" : "before";
    const what = `${missing} blocks are missing ${where} the latest snapshot`;
    report(severity, "gap", what, {
      from: detail(some[0]![0]),
      to: detail(some.at(-1)![1]),
      missing: detail(missing),
      gaps: some.slice(0, shownGaps).map((gap) => gap.map(detail)),
    });
  }
}

function judgeCandidates(
  { candidates }: StreamFacts,
  last: bigint,
  report: Report,
): void {
  const { lowest } = candidates;
  if (lowest === null || lowest > last) return;
  const what = "Candidates remain for blocks that are stored already";
  report("warning", "stale_candidates", what, {
    lowest: detail(lowest),
    last: detail(last),
  });
}
