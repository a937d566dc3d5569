/** Shows what is stored of one stream, without its payload. */

import { bind } from "../../database/statement.ts";
import type { ReadCore } from "../../postgres/read_core.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { hasLegacySnapshot } from "../../storage/miniblock_proto.ts";
import { partitionSuffix, type StreamId } from "../../storage/stream_id.ts";
import { reading } from "../reading.ts";
import { sizesOf, type StreamSizes } from "../streams/sizes.ts";
import { selectSizes } from "../streams/sizes_sql.ts";
import { selectBlocksBackwards, selectGaps } from "../verify/facts_sql.ts";
import { verify } from "../verify/verify.ts";
import { findStream } from "./find_stream.ts";
import {
  selectCandidateSizes,
  selectMinipoolExtent,
  selectSnapshotSizes,
} from "./inspect_sql.ts";
import type {
  InspectStreamOptions,
  SnapshotPlace,
  StreamInspection,
} from "./types.ts";

const operation = "inspectStream";

const maxSnapshots = 1000n;
const maxCandidates = 100n;
const maxGaps = 10_000n;
/** How many of the last blocks are searched for snapshots in their data. */
const maxSearched = 200n;

const gapsInside = selectGaps({
  external: false,
  deletions: false,
  mediaTasks: false,
});
const gapsOutside = selectGaps({
  external: true,
  deletions: false,
  mediaTasks: false,
});

/**
 * Returns what is stored of a stream: runs and gaps of its blocks, snapshots
 * beside and inside them, minipool, candidates, sizes, and the findings of
 * `verify`.
 *
 * ```ts
 * import { inspectStream } from "@towns/stream-storage/operator";
 *
 * const { runs, findings } = await inspectStream({
 *   url,
 *   schema: storage.schema,
 *   streamId,
 * });
 * console.log(runs, findings);
 * ```
 *
 * @throws {StreamStorageError} as `openStreamReader`; NOT_FOUND;
 *   INVALID_ARGUMENT if the ids of several streams begin so.
 */
export async function inspectStream(
  { streamId: given, ...options }: InspectStreamOptions,
): Promise<StreamInspection> {
  const { signal } = options;
  const inspection = await reading(operation, options, async (core) => {
    const context = { name: operation, signal };
    const streamId = await findStream(core, given, context);
    return await inspectFound(core, streamId, signal);
  });
  const { streamId } = inspection;
  for await (const finding of verify({ ...options, streamIds: [streamId] })) {
    inspection.findings.push(finding);
  }
  return inspection;
}

async function inspectFound(
  core: ReadCore,
  streamId: StreamId,
  signal: AbortSignal | undefined,
): Promise<StreamInspection> {
  const { catalog, transactions } = core;
  const partition = partitionSuffix(streamId, catalog.partitions);
  const isMedia = partition.startsWith("m");
  const gaps = catalog.at(partition, isMedia ? gapsOutside : gapsInside);
  // One flush, so that all results describe the same state.
  const [sizes, inside, outside, snapshots, minipool, candidates] =
    await transactions.read({ name: operation, tags: streamId, signal }, [
      bind(catalog.at(partition, selectSizes), [streamId]),
      bind(gaps, streamId, false, maxGaps),
      bind(gaps, streamId, true, maxGaps),
      bind(catalog.at(partition, selectSnapshotSizes), streamId, maxSnapshots),
      bind(catalog.at(partition, selectMinipoolExtent), streamId),
      bind(
        catalog.at(partition, selectCandidateSizes),
        streamId,
        maxCandidates,
      ),
    ]);
  const [row] = sizes.rows;
  if (row === undefined) throw streamNotFound(streamId);
  const stream = sizesOf(row);
  const { rows: missing } = stream.location === "database" ? inside : outside;
  const [rows, generation, lastGeneration, firstSlot, lastSlot] = minipool
    .rows[0]!;
  const beside = snapshots.rows.map(([number, bytes]): SnapshotPlace => ({
    number,
    kind: "beside",
    bytes,
  }));
  const legacy = await searchInside(core, stream, { partition, signal });
  return {
    ...stream,
    partition,
    runs: runsOf(stream, missing.toReversed()),
    snapshotPlaces: [...beside, ...legacy.found]
      .sort((a, b) => Number(a.number - b.number)),
    searchedFrom: legacy.from,
    minipool: { rows, generation, lastGeneration, firstSlot, lastSlot },
    candidatePlaces: candidates.rows.map((
      [number, hash, bytes, snapshotBytes],
    ) => ({ number, hash, bytes, snapshotBytes })),
    findings: [],
  };
}

function runsOf(
  { firstBlock, lastBlock }: StreamSizes,
  gaps: readonly (readonly [bigint, bigint])[],
): StreamInspection["runs"] {
  if (firstBlock === null || lastBlock === null) return [];
  const starts = [firstBlock, ...gaps.map(([, to]) => to + 1n)];
  const ends = [...gaps.map(([from]) => from - 1n), lastBlock];
  return starts.map((first, i) => ({ first, last: ends[i]! }));
}

/**
 * Finds snapshots in the data of the last blocks. The search has to read each
 * block, so it does not cover all of a long stream.
 */
async function searchInside(
  { catalog, transactions }: ReadCore,
  { streamId, location, firstBlock, lastBlock }: StreamSizes,
  { partition, signal }: {
    partition: string;
    signal: AbortSignal | undefined;
  },
): Promise<{ found: SnapshotPlace[]; from: bigint | null }> {
  const found: SnapshotPlace[] = [];
  if (location !== "database" || firstBlock === null || lastBlock === null) {
    return { found, from: null };
  }
  const wanted = lastBlock - maxSearched + 1n;
  const from = wanted > firstBlock ? wanted : firstBlock;
  const select = catalog.at(partition, selectBlocksBackwards);
  for (let to = lastBlock; to >= from;) {
    const [{ rows }] = await transactions.read(
      { name: operation, tags: streamId, signal },
      [bind(select, streamId, from, to)],
    );
    for (const [number, data] of rows) {
      if (!hasLegacySnapshot(data)) continue;
      found.push({ number, kind: "inside", bytes: null });
    }
    const last = rows.at(-1);
    if (last === undefined) break;
    to = last[0] - 1n;
  }
  return { found, from };
}
