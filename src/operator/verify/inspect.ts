/**
 * Looks at one suspect by itself, on a fresh snapshot, before anything is told of
 * it: what a page has seen may have been mended since, and figures alone call
 * healthy streams broken, such as those with a snapshot inside their blocks.
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

/** More gaps of one stream are not looked at, the last ones are. */
const maxGaps = 10_000n;

/** More rows of a broken minipool are not looked at. */
const maxKeys = 100_000n;

/** Numbers of blocks without data that are told. */
const maxBare = 20n;

/** What a stream's own look has found; no facts: there is nothing of it. */
export interface Inspection {
  facts: StreamFacts;
  findings: Finding[];
}

/** Looks at a stream's rows in the tables of a partition. */
export async function inspect(
  ground: Ground,
  streamId: StreamId,
  suffix: string,
): Promise<Inspection> {
  const { catalog } = ground;
  const templates = templatesAt(ground, suffix);
  const gapsOf = catalog.at(suffix, templates.gaps);
  // One flush: the figures and what explains them are of one snapshot.
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
 * Where the latest snapshot could point to, if it is wrong: the last block of the
 * last run that has a snapshot, own or legacy, or a genesis.
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
