/**
 * Reads blocks that are in object storage.
 *
 * A first statement returns where the blocks are, and their bytes are fetched
 * after it. If the stream is moved in between, or deleted with its object, the
 * bytes are of no use, and the whole read begins again; see
 * {@linkcode following}.
 */

import { createHash } from "node:crypto";
import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import {
  isStreamStorageError,
  StreamStorageError,
} from "../../storage/errors.ts";
import type { MiniblockRow } from "../../storage/rules.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { type Media, mediaAt } from "../media.ts";
import {
  selectExternal,
  selectExternalNumbers,
  selectExternalPageEnd,
  selectVersion,
} from "../sql/external.ts";
import { selectStreamRow } from "../sql/streams.ts";
import { besideOwn } from "./beside_own.ts";
import { contextOf, type ReadStore, type StreamCall } from "../store.ts";

/** The stream's blocks are elsewhere by now: read again from the start. */
export const moved = Symbol("moved");

/** Moves in a row that a read follows. */
const maxMoves = 5;

/** Repeats a read until the stream has not been moved during it. */
export async function following<T>(
  streamId: StreamId,
  read: () => Promise<T | typeof moved>,
): Promise<T> {
  for (let moves = 0; moves <= maxMoves; moves++) {
    const result = await read();
    if (result !== moved) return result;
  }
  throw new StreamStorageError({
    code: "MINIBLOCKS_NOT_FOUND",
    message: `Stream ${streamId} was moved again and again`,
    details: { reason: "stream_moved", streamId },
    retryable: true,
  });
}

/** A range of blocks, both ends included. */
export interface ExternalRead {
  first: bigint;
  last: bigint;
  omitSnapshot: boolean;
  /** The row's version, as an earlier statement has seen it (look.ts). */
  version?: bigint | undefined;
}

/** Blocks, and the bits of `selectExternal` for what is stored below them. */
export interface ExternalBlocks {
  below: bigint;
  blocks: MiniblockRow[];
}

/** A stored block, and what is known of its snapshots. */
export interface SeenBlock {
  number: bigint;
  /** Whether a snapshot stands beside the block's data. */
  hasOwn: boolean;
  /** Whether its data holds one; absent if only the data shows that. */
  holds?: boolean;
}

/** Where a block is, and what is known of it. */
export interface ExternalPlace {
  number: bigint;
  start: bigint;
  size: bigint;
  sha256: Uint8Array | null;
  snapshot: Uint8Array | null;
}

/** The first blocks of a range, as many as fit into `maxBytes`. */
export async function readExternalPage(
  store: ReadStore,
  call: StreamCall,
  { maxBytes, ...read }: ExternalRead & { maxBytes: bigint },
): Promise<(ExternalBlocks & { hasNext: boolean }) | typeof moved> {
  const { name, streamId, signal } = call;
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(
      store.catalog.of(streamId, selectExternalPageEnd),
      streamId,
      read.first,
      read.last,
      maxBytes,
    )],
  );
  const [end, hasNext] = row ?? [];
  const last = end ?? read.last;
  const found = await readExternal(store, call, { ...read, last });
  return found === moved ? moved : { ...found, hasNext: hasNext === true };
}

/** The numbers of all blocks, and what is known of their snapshots. */
export async function readExternalNumbers(
  store: ReadStore,
  call: StreamCall,
): Promise<{ version: bigint; blocks: SeenBlock[] } | typeof moved> {
  const { streamId } = call;
  const { rows: [stream, ...rows] } = await besideOwn(
    store,
    contextOf(call),
    () => bind(store.catalog.of(streamId, selectExternalNumbers), streamId),
  );
  const location = stream?.[3] ?? undefined;
  if (location === undefined) throw streamNotFound(streamId);
  if (location === "D") return moved;
  return {
    version: stream![0],
    blocks: rows.map(([number, hasOwn, holds]) => ({
      number,
      hasOwn,
      ...(holds === null ? {} : { holds }),
    })),
  };
}

/** Reads the blocks of a range, one request for each run of bytes. */
export async function readExternal(
  store: ReadStore,
  call: StreamCall,
  read: ExternalRead,
): Promise<ExternalBlocks | typeof moved> {
  const { streamId } = call;
  const found = await readPlaces(store, call, read);
  if (found === moved || isOther(found, read.version)) return moved;
  const media = mediaAt(store, found.location, streamId);
  try {
    const blocks: MiniblockRow[] = [];
    for (const run of runsOf(found.places)) {
      const { background: isPatient = false } = store;
      for (const block of await fetchRun(media, call, run, isPatient)) {
        // Copied, so that a caller who keeps one block does not keep all of
        // them in memory.
        const data = run.length === 1 ? block.data : block.data.slice();
        blocks.push({ ...block, data });
      }
    }
    // Bytes without a SHA-256 may be another object's.
    const isSure = found.places.every(({ sha256 }) => sha256 !== null);
    if (!isSure && await wasMoved(store, call, found)) return moved;
    return { below: found.below, blocks };
  } catch (error) {
    const isOfObject = isStreamStorageError(error, "MINIBLOCKS_NOT_FOUND") ||
      isStreamStorageError(error, "DOWNSTREAM_NETWORK_ERROR");
    if (isOfObject && await wasMoved(store, call, found)) return moved;
    throw error;
  }
}

/** Whether the stream's row is another one than was seen before. */
export function isOther(
  { version }: { version: bigint },
  seen: bigint | undefined,
): boolean {
  return seen !== undefined && version !== seen;
}

/**
 * Whether the stream was moved, deleted or created anew since its places were
 * read. It may be at the same location again, in another object.
 */
export async function wasMoved(
  store: ReadStore,
  { name, streamId, signal }: StreamCall,
  { version }: { version: bigint },
): Promise<boolean> {
  // Without the call's deadline, because fetching may have used it up.
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectVersion), streamId)],
  );
  return row?.[0] !== version;
}

/** Where the blocks of a range are. */
export async function readPlaces(
  store: ReadStore,
  call: StreamCall,
  { first, last, omitSnapshot }: ExternalRead,
): Promise<
  | {
    below: bigint;
    /** The version of the stream's row. */
    version: bigint;
    location: string;
    places: ExternalPlace[];
  }
  | typeof moved
> {
  const { name, streamId, signal } = call;
  const { rows: [stream, ...rows] } = await besideOwn(
    store,
    { name, tags: streamId, signal },
    () =>
      bind(
        store.catalog.of(streamId, selectExternal),
        streamId,
        first,
        last,
        omitSnapshot,
      ),
  );
  if (stream === undefined) throw streamNotFound(streamId);
  const [, below, version, , , , location] = stream;
  if (location === "D" || location === null) return moved;
  return {
    below,
    version,
    location,
    places: rows.map(([, number, start, size, sha256, snapshot]) => ({
      number,
      start,
      size,
      sha256,
      snapshot,
    })),
  };
}

/** Where the stream's blocks are; undefined for an unknown stream. */
export async function findLocation(
  store: ReadStore,
  call: StreamCall,
): Promise<string | undefined> {
  const { streamId } = call;
  const [{ rows: [row] }] = await store.transactions.read(
    contextOf(call),
    [bind(store.catalog.of(streamId, selectStreamRow), streamId)],
  );
  return row?.[1];
}

/** Cuts blocks into runs, each contiguous in the object. */
export function runsOf(places: readonly ExternalPlace[]): ExternalPlace[][] {
  const runs: ExternalPlace[][] = [];
  for (const place of places) {
    const run = runs.at(-1);
    const before = run?.at(-1);
    if (run && before && before.start + before.size === place.start) {
      run.push(place);
    } else runs.push([place]);
  }
  return runs;
}

/** Attempts to fetch bytes that have the right hash. */
const maxFetches = 2;

/**
 * Fetches a run and cuts it into blocks, which share its memory. With
 * `isPatient`, it waits as long as the object storage's retries last.
 */
export async function fetchRun(
  media: Media,
  { streamId, signal }: StreamCall,
  run: readonly ExternalPlace[],
  isPatient: boolean,
): Promise<MiniblockRow[]> {
  const start = run[0]!.start;
  const size = run.at(-1)!.start + run.at(-1)!.size - start;
  for (let fetches = 1;; fetches++) {
    const range = { start: Number(start), size: Number(size) };
    const bytes = size === 0n
      ? new Uint8Array()
      : await media.read(streamId, range, { signal, isPatient });
    const parts = run.map((place) => {
      const at = Number(place.start - start);
      return bytes.subarray(at, at + Number(place.size));
    });
    const wrong = parts.findIndex((data, i) => {
      const { sha256 } = run[i]!;
      return sha256 !== null && !isSame(hashOf(data), sha256);
    });
    if (wrong < 0) {
      return run.map(({ number, snapshot }, i) => ({
        number,
        data: parts[i]!,
        snapshot,
      }));
    }
    if (fetches === maxFetches) throw wrongBytes(streamId, run[wrong]!.number);
  }
}

/** The SHA-256 of a block. */
export function hashOf(data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(data).digest());
}

/** Whether two byte arrays are equal. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The error for bytes that are not those that were written. */
export function wrongBytes(
  streamId: StreamId,
  miniblock: bigint,
): StreamStorageError {
  return new StreamStorageError({
    code: "DOWNSTREAM_NETWORK_ERROR",
    message: `Object storage returned other bytes than were written for ` +
      `miniblock ${miniblock} of stream ${streamId}`,
    details: { reason: "checksum_mismatch", streamId, miniblock },
    retryable: true,
  });
}
