/**
 * Walks through a schema in pages, in two passes that do not overlap. One reads
 * the rows of every partition's tables, stream by stream, and finds rows
 * without a stream. The other reads `es` and finds streams without rows.
 */

import { bind } from "../../database/statement.ts";
import { partitionSuffix, type StreamId } from "../../storage/stream_id.ts";
import { extentOf, factsOf, type StreamFacts } from "./facts.ts";
import { selectKnown, selectStreamsAfter } from "./facts_sql.ts";
import type { Finding } from "./findings.ts";
import { contextOf, type Ground, templatesAt } from "./ground.ts";
import { inspect } from "./inspect.ts";
import { isSuspect } from "./judge.ts";

/** Whether a stream is to be verified. */
export type Choice = (streamId: StreamId) => boolean;

/** The result of a page. */
export interface Page {
  /** Where to continue; undefined: this was the last page. */
  next: string | undefined;
  findings: Finding[];
  /** The totals of the page, for the summary. */
  streams: number;
  blocks: bigint;
  events: bigint;
  /**
   * The streams of the page whose blocks can be read, in the order of the key.
   */
  readable: StreamWithBlocks[];
  /** The streams of the page whose blocks are in object storage. */
  outside: StreamWithBlocks[];
}

/** A stream with blocks in the database. */
export interface StreamWithBlocks {
  streamId: StreamId;
  /** Its first block. */
  first: bigint;
  /** Its last block. */
  last: bigint;
}

/** Streams in a page of a partition. */
const streamsPerPage = 200n;

/** Streams in a page of `es`. */
export const rowsPerPage = 10_000n;

/** The next streams that have rows in a partition's tables, after an id. */
export async function partitionPage(
  ground: Ground,
  suffix: string,
  { after, choice }: { after: string; choice: Choice },
): Promise<Page> {
  const { catalog } = ground;
  const select = catalog.at(suffix, templatesAt(ground, suffix).factsAfter);
  const [{ rows }] = await ground.read([bind(select, after, streamsPerPage)]);
  const all = rows.map(factsOf);
  const chosen = all.filter(({ streamId }) => choice(streamId));
  const isLast = BigInt(rows.length) < streamsPerPage;
  return {
    next: isLast ? undefined : all.at(-1)!.streamId,
    streams: 0,
    ...await judgePage(ground, suffix, chosen),
  };
}

/** A page of given streams of a partition. */
export async function givenPage(
  ground: Ground,
  suffix: string,
  streamIds: readonly StreamId[],
): Promise<Page> {
  const { catalog } = ground;
  const select = catalog.at(suffix, templatesAt(ground, suffix).factsOf);
  const [{ rows }] = await ground.read([bind(select, streamIds)]);
  const facts = rows.map(factsOf);
  return {
    next: undefined,
    streams: facts.filter(({ stream }) => stream !== undefined).length,
    ...await judgePage(ground, suffix, facts),
  };
}

/**
 * Examines each suspect by itself, and reports only the findings of that
 * examination.
 */
async function judgePage(
  ground: Ground,
  suffix: string,
  facts: readonly StreamFacts[],
): Promise<
  Pick<Page, "findings" | "blocks" | "events" | "readable" | "outside">
> {
  const findings: Finding[] = [];
  const readable: StreamWithBlocks[] = [];
  const outside: StreamWithBlocks[] = [];
  let [blocks, events] = [0n, 0n];
  for (const each of facts) {
    const { streamId, minipool } = each;
    const context = contextOf(ground, streamId, suffix);
    if (isSuspect(each, context)) {
      findings.push(...(await inspect(ground, streamId, suffix)).findings);
    }
    if (each.stream === undefined || suffix !== context.rightSuffix) continue;
    blocks += extentOf(each).n;
    events += minipool.marker === null ? minipool.n : minipool.n - 1n;
    const { first, last } = extentOf(each);
    if (first === null || last === null) continue;
    const isHere = each.stream.location === "D";
    (isHere ? readable : outside).push({ streamId, first, last });
  }
  return { findings, blocks, events, readable, outside };
}

/**
 * The next rows of `es` after an id. Streams without any other row are judged
 * here; all others are judged in the pages of their partition.
 */
export async function streamsPage(
  ground: Ground,
  { after, choice, usable }: {
    after: string;
    choice: Choice;
    /** The partitions whose tables can be read. */
    usable: ReadonlySet<string>;
  },
): Promise<Page> {
  const { catalog } = ground;
  const select = selectStreamsAfter({ streams: catalog.table("es") });
  const [{ rows }] = await ground.read([bind(select, after, rowsPerPage)]);
  const chosen = rows.map(([id]) => id as StreamId).filter(choice);
  const partitions = Map.groupBy(
    chosen,
    (id) => partitionSuffix(id, catalog.partitions),
  );
  const findings: Finding[] = [];
  const found = await withoutRows(
    ground,
    [...partitions].filter(([suffix]) => usable.has(suffix)),
  );
  for (const [streamId, suffix] of found) {
    findings.push(...(await inspect(ground, streamId, suffix)).findings);
  }
  const isLast = BigInt(rows.length) < rowsPerPage;
  return {
    next: isLast ? undefined : rows.at(-1)![0],
    findings,
    streams: chosen.length,
    blocks: 0n,
    events: 0n,
    readable: [],
    outside: [],
  };
}

/** The number of partitions read in one flush. */
const perFlush = 64;

/** Those of the streams that have no rows in their partition. */
async function withoutRows(
  ground: Ground,
  partitions: readonly (readonly [suffix: string, ids: StreamId[]])[],
): Promise<[StreamId, string][]> {
  const found: [StreamId, string][] = [];
  for (let at = 0; at < partitions.length; at += perFlush) {
    const some = partitions.slice(at, at + perFlush);
    const results = await ground.read(some.map(([suffix, ids]) => {
      const { withoutRows } = templatesAt(ground, suffix);
      return bind(ground.catalog.at(suffix, withoutRows), ids);
    }));
    results.forEach(({ rows }, i) => {
      for (const [id] of rows) found.push([id as StreamId, some[i]![0]]);
    });
  }
  return found;
}

/** Those of the streams that `es` has. */
export async function knownStreams(
  { catalog, read }: Ground,
  streamIds: readonly StreamId[],
): Promise<Set<string>> {
  const select = selectKnown({ streams: catalog.table("es") });
  const [{ rows }] = await read([bind(select, streamIds)]);
  return new Set(rows.map(([id]) => id));
}
