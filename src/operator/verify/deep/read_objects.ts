/**
 * Reads the blocks of streams in object storage, once each, and checks them.
 */

import {
  type ExternalBlocks,
  following,
  readExternalPage,
} from "../../../postgres/operations/external_blocks.ts";
import type { ReadStore } from "../../../postgres/store.ts";
import { isStreamStorageError } from "../../../storage/errors.ts";
import type { StreamId } from "../../../storage/stream_id.ts";
import { detail, type Finding } from "../findings.ts";
import type { StreamWithBlocks } from "../walk.ts";
import type { Link, StoredBlock } from "./check.ts";
import type { DeepEvidence, DeepPage } from "./suspects.ts";

/** The source of the blocks. */
export interface ObjectSource {
  store: ReadStore;
  signal: AbortSignal | undefined;
}

/** The most bytes of a page; a larger block is a page of its own. */
const maxBytes = 4n * 1024n * 1024n;

type Page = ExternalBlocks & { hasNext: boolean };

/** Reads a stream's blocks from number `from` on, and checks them. */
export async function* readObject(
  source: ObjectSource,
  evidence: DeepEvidence,
  { streamId, last, from }: StreamWithBlocks & { from: bigint },
): AsyncGenerator<DeepPage> {
  const readAgain = (_: StreamId, number: bigint) =>
    blocksOf(source, streamId, number - 1n, number);
  let before: Link | undefined;
  for (let first = from; first <= last;) {
    const page = await pageOrFault(source, streamId, first, last);
    if (page === undefined) return;
    if (!("blocks" in page)) {
      yield { bytes: 0, findings: [page] };
      return;
    }
    let bytes = 0;
    for (const { number, data } of page.blocks) {
      bytes += data.length;
      before = evidence.check(streamId, { number, data }, before, readAgain);
    }
    yield { bytes, findings: await evidence.takeFindings() };
    const end = page.blocks.at(-1);
    if (end === undefined || !page.hasNext) return;
    first = end.number + 1n;
  }
}

/**
 * Reads a page, and tries twice before it reports a fault. Undefined: the
 * stream is gone.
 */
async function pageOrFault(
  source: ObjectSource,
  streamId: StreamId,
  first: bigint,
  last: bigint,
): Promise<Page | Finding | undefined> {
  for (let tries = 1;; tries++) {
    try {
      return await readPage(source, streamId, first, last);
    } catch (error) {
      if (isGone(error)) return undefined;
      const finding = findingOf(error, streamId, first);
      if (finding === undefined) throw error;
      if (tries > 1) return finding;
    }
  }
}

function readPage(
  { store, signal }: ObjectSource,
  streamId: StreamId,
  first: bigint,
  last: bigint,
): Promise<Page> {
  const call = { name: "verify", streamId, signal };
  const range = { first, last, omitSnapshot: true, maxBytes };
  return following(streamId, () => readExternalPage(store, call, range));
}

/**
 * Whether the stream was deleted or brought back into the database meanwhile.
 */
function isGone(error: unknown): boolean {
  return isStreamStorageError(error, "NOT_FOUND") ||
    (isStreamStorageError(error) && error.details["reason"] === "stream_moved");
}

/** The finding about the object; undefined if it could not be read at all. */
function findingOf(
  error: unknown,
  streamId: StreamId,
  from: bigint,
): Finding | undefined {
  if (!isStreamStorageError(error)) return undefined;
  const { details } = error;
  if (details["reason"] === "checksum_mismatch") {
    const { miniblock } = details;
    const block = typeof miniblock === "bigint" ? miniblock : from;
    return {
      severity: "error",
      finding: "hash_mismatch",
      streamId,
      what: `The object's bytes of block ${block} are not those that were ` +
        "put there",
      details: { block: detail(block) },
    };
  }
  if (error.code !== "MINIBLOCKS_NOT_FOUND") return undefined;
  return {
    severity: "error",
    finding: "location",
    streamId,
    what: `Object storage does not have the blocks from ${from} on`,
    details: { from: detail(from), reason: String(details["reason"]) },
  };
}

async function blocksOf(
  source: ObjectSource,
  streamId: StreamId,
  first: bigint,
  last: bigint,
): Promise<StoredBlock[]> {
  const page = await pageOrFault(source, streamId, first, last);
  return page !== undefined && "blocks" in page ? page.blocks : [];
}
