/**
 * Examines one suspect by itself, on a fresh snapshot, before anything about it
 * is reported. A fault on a page may have been repaired since. And by its
 * figures alone, a healthy stream may look broken, for example one with a
 * snapshot inside its blocks.
 */

import { bind } from "../../database/statement.ts";
import { hasLegacySnapshot } from "../../storage/miniblock_proto.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { isArchive } from "./archives.ts";
import { extentOf, factsOf, type StreamFacts } from "./facts.ts";
import {
  selectBareBlocks,
  selectBareLatest,
  selectBlocksBackwards,
  selectLastSnapshot,
  selectMinipoolKeys,
} from "./facts_sql.ts";
import type { Finding } from "./findings.ts";
import { contextOf, type Ground, templatesAt } from "./ground.ts";
import {
  type CloserLook,
  type Gap,
  judge,
  pointerFault,
  startOfLastRun,
} from "./judge.ts";

/** The most gaps of one stream that are read, the last ones. */
const maxGaps = 10_000n;

/** The most rows of a broken minipool that are read. */
const maxKeys = 100_000n;

/** The most blocks without data that a finding names. */
const maxBare = 20n;

/**
 * The result of an inspection; without facts, nothing is stored of the stream.
 */
export interface Inspection {
  facts: StreamFacts;
  findings: Finding[];
}

/** Examines a stream's rows in the tables of a partition. */
export async function inspect(
  ground: Ground,
  streamId: StreamId,
  suffix: string,
): Promise<Inspection> {
  const { catalog } = ground;
  const templates = templatesAt(ground, suffix);
  const gapsOf = catalog.at(suffix, templates.gaps);
  // One flush, so that the figures and their explanation come from one
  // snapshot.
  const [figures, inside, outside, latest, keys, bare] = await ground.read([
    bind(catalog.at(suffix, templates.factsOf), [streamId]),
    bind(gapsOf, streamId, false, maxGaps),
    bind(gapsOf, streamId, true, maxGaps),
    bind(catalog.at(suffix, selectBareLatest), streamId),
    bind(catalog.at(suffix, selectMinipoolKeys), streamId, maxKeys),
    bind(catalog.at(suffix, selectBareBlocks), streamId, maxBare),
  ]);
  const facts = factsOf(figures.rows[0]!);
  const context = contextOf(ground, streamId, suffix);
  const { stream } = facts;
  const isGapAllowed = stream === undefined || stream.ephemeral;
  const { rows: gaps } = stream?.location === "D" ? inside : outside;
  const look: CloserLook = {
    gaps: isGapAllowed ? [] : gaps.toReversed(),
    latestIsLegacy: latest.rows.some(([data]) => hasLegacySnapshot(data)),
    pointerTo: null,
    minipoolKeys: keys.rows,
    bareBlocks: bare.rows.map(([number]) => number),
  };
  const pointerTo = await findPointer(ground, facts, look, suffix);
  return { facts, findings: judge(facts, { ...look, pointerTo }, context) };
}

/**
 * The block that the latest snapshot could name if it is wrong: the last block
 * of the last run that has a snapshot, beside it or inside, or is a genesis.
 */
async function findPointer(
  ground: Ground,
  facts: StreamFacts,
  look: CloserLook,
  suffix: string,
): Promise<bigint | null> {
  const { stream, streamId } = facts;
  if (stream === undefined || stream.ephemeral) return null;
  if (stream.location !== "D" || isArchive(facts, ground.archives)) return null;
  const { last, n } = extentOf(facts);
  if (n === 0n) return null;
  const first = startOfLastRun(facts, look.gaps);
  const isFine = pointerFault(facts, look) === undefined &&
    stream.latest >= first;
  if (isFine) return null;
  const { catalog, read } = ground;
  const [{ rows: [own] }] = await read([
    bind(catalog.at(suffix, selectLastSnapshot), streamId, first, last!),
  ]);
  const found = own?.[0] ??
    await findLegacy(ground, streamId, [first, last!], suffix);
  return found ?? (first === 0n ? 0n : null);
}

async function findLegacy(
  { catalog, read }: Ground,
  streamId: StreamId,
  [first, last]: Gap,
  suffix: string,
): Promise<bigint | undefined> {
  const select = catalog.at(suffix, selectBlocksBackwards);
  for (let to = last; to >= first;) {
    const [{ rows }] = await read([bind(select, streamId, first, to)]);
    const found = rows.find(([, data]) => hasLegacySnapshot(data));
    if (found !== undefined) return found[0];
    const [lowest] = rows.at(-1) ?? [first];
    to = lowest - 1n;
  }
  return undefined;
}
