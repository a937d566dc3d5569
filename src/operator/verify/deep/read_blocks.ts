/**
 * Reads every block of a page of streams once and checks it. The next page is
 * asked for before the last one is checked, so that the server reads while we
 * hash.
 */

import { bind } from "../../../database/statement.ts";
import type { StreamId } from "../../../storage/stream_id.ts";
import { detail, type Finding } from "../findings.ts";
import type { Ground } from "../ground.ts";
import type { StreamWithBlocks } from "../walk.ts";
import {
  readInOrder,
  selectBlockAndBefore,
  selectBlocksAfter,
  selectBlocksOf,
} from "./blocks_sql.ts";
import { type BlockFault, checkBlock, type Link } from "./check.ts";
import { Evidence } from "./evidence.ts";

/** A block that did not pass. */
interface Suspect {
  streamId: StreamId;
  suffix: string;
  number: bigint;
  finding: BlockFault["finding"];
}

/** What was seen to fit in the whole store. */
export class DeepEvidence {
  /** Hashes, and whether data can be decoded. */
  readonly hashes: Evidence<Suspect> = new Evidence();
  /** The chain of headers. */
  readonly links: Evidence<Suspect> = new Evidence();

  /** Takes a fault; what can be told of all faults, each once. */
  takeAll(): Suspect[] {
    return [...this.hashes.take(), ...this.links.take()];
  }

  add(suspect: Suspect): void {
    const { hashes, links } = this;
    (suspect.finding === "broken_chain" ? links : hashes).add(suspect);
  }

  /** Faults that can't be told. */
  get untold(): number {
    return this.hashes.untold + this.links.untold;
  }
}

/** A page of blocks: bytes that were read, findings that can be told now. */
export interface DeepPage {
  bytes: number;
  findings: Finding[];
}

/** Which blocks to read. */
export interface DeepRange {
  suffix: string;
  /** In the order of the key. */
  streams: readonly StreamWithBlocks[];
  /** Of each stream only so many blocks, the last ones; undefined: all. */
  since: bigint | undefined;
}

type Rows = readonly (readonly [string, bigint, Uint8Array])[];

/** Reads the range in pages and checks it. */
export async function* readBlocks(
  ground: Ground,
  evidence: DeepEvidence,
  range: DeepRange,
): AsyncGenerator<DeepPage> {
  let before: (Link & { streamId: string }) | undefined;
  for await (const rows of pagesOf(ground, range)) {
    let bytes = 0;
    for (const [streamId, number, data] of rows) {
      bytes += data.length;
      const link = before?.streamId === streamId ? before : undefined;
      const withHashes = !evidence.hashes.isHopeless;
      const check = checkBlock({ number, data }, link, withHashes);
      if (check.rightHashes > 0) evidence.hashes.see();
      if (check.rightLinks > 0) evidence.links.see();
      const kinds = new Set(check.faults.map(({ finding }) => finding));
      for (const finding of kinds) {
        const { suffix } = range;
        evidence.add({
          streamId: streamId as StreamId,
          suffix,
          number,
          finding,
        });
      }
      before = check.link && { ...check.link, streamId };
    }
    const findings = [];
    for (const suspect of evidence.takeAll()) {
      findings.push(...await lookAgain(ground, suspect));
    }
    yield { bytes, findings };
  }
}

/** Pages of rows; the next one is on its way while one is looked at. */
async function* pagesOf(
  ground: Ground,
  range: DeepRange,
): AsyncGenerator<Rows> {
  const parts = range.since === undefined
    ? [wholeRange(ground, range)]
    : range.streams.map((stream) => lastBlocks(ground, range, stream));
  for (const read of parts) {
    let next = read(undefined);
    for (;;) {
      const rows = await next;
      const last = rows.at(-1);
      if (last === undefined) break;
      next = read(last);
      // Whoever stops in between must not leave a rejection to nobody.
      next.catch(() => {});
      yield rows;
    }
  }
}

type ReadAfter = (last: Rows[number] | undefined) => Promise<Rows>;

function wholeRange(
  { catalog, read }: Ground,
  { suffix, streams }: DeepRange,
): ReadAfter {
  const select = catalog.at(suffix, selectBlocksAfter);
  const streamIds = streams.map(({ streamId }) => streamId);
  const [first, end] = [streamIds[0]!, streamIds.at(-1)!];
  return async (last) => {
    const [id, number] = last ?? [first, -1n];
    const [, { rows }] = await read([
      bind(readInOrder),
      bind(select, id, number, end, streamIds),
    ]);
    return rows;
  };
}

function lastBlocks(
  { catalog, read }: Ground,
  { suffix, since }: DeepRange,
  { streamId, last: end }: StreamWithBlocks,
): ReadAfter {
  const select = catalog.at(suffix, selectBlocksOf);
  return async (last) => {
    const after = last?.[1] ?? end - since!;
    const [{ rows }] = await read([bind(select, streamId, after)]);
    return rows;
  };
}

/**
 * Reads a suspect once more, by itself: rows that were deleted and written anew
 * between two pages are no broken chain.
 */
async function lookAgain(
  { catalog, read }: Ground,
  { streamId, suffix, number, finding }: Suspect,
): Promise<Finding[]> {
  const select = catalog.at(suffix, selectBlockAndBefore);
  const [{ rows }] = await read([bind(select, streamId, number)]);
  const [block, previous] = rows.toReversed();
  if (block === undefined || block[0] !== number) return [];
  const before = previous &&
    checkBlock({ number: previous[0], data: previous[1] }, undefined, false)
      .link;
  const { faults } = checkBlock({ number, data: block[1] }, before, true);
  const same = faults.filter((fault) => fault.finding === finding);
  if (same.length === 0) return [];
  return [{
    severity: "error",
    finding,
    streamId,
    what: same.map(({ what }) => what).join("; "),
    details: { block: detail(number), bytes: block[1].length },
  }];
}
