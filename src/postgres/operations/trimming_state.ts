/** What the trimmer remembers of streams, and how far it has come. */

import { bind } from "../../database/statement.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import {
  countSnapshotsAbove,
  selectCursor,
  selectTrimmingMark,
  selectTrimmingPage,
  upsertCursor,
  upsertTrimmingMark,
} from "../sql/trimming.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeOwnRows } from "../write_path/stream_write.ts";

/**
 * How many snapshots were written since the stream was trimmed last, counted up
 * to `limit`; undefined for an unknown stream.
 */
export async function snapshotsSinceTrimmed(
  store: Store,
  { name, streamId, signal }: StreamCall,
  limit: number,
): Promise<number | undefined> {
  const { catalog, transactions } = store;
  const context = { name, tags: streamId, signal };
  const [{ rows: [row] }] = await transactions.read(context, [
    bind(catalog.of(streamId, selectTrimmingMark), streamId),
  ]);
  if (row === undefined) return undefined;
  const [latest, mark] = row;
  const [{ rows: [counted] }] = await transactions.read(context, [
    bind(
      catalog.of(streamId, countSnapshotsAbove),
      streamId,
      markOf(latest, mark),
      BigInt(limit),
    ),
  ]);
  return Number(counted![0]);
}

/** A mark above the latest snapshot belongs to an earlier stream. */
function markOf(latest: bigint, mark: bigint | null): bigint {
  return mark === null || mark > latest ? 0n : mark;
}

/** Records that the stream was trimmed when this was its latest snapshot. */
export async function markTrimmed(
  store: Store,
  { name, streamId }: StreamCall,
  latest: bigint,
): Promise<void> {
  const upsert = store.catalog.of(streamId, upsertTrimmingMark);
  await writeOwnRows(store, { name, tags: streamId }, [
    bind(upsert, streamId, latest),
  ]);
}

/** A page of streams, for a worker that goes through all. */
export interface TrimmingPage {
  /** The streams that can be trimmed, ascending. */
  streams: {
    streamId: StreamId;
    /** The number of the latest snapshot. */
    latest: bigint;
    /** Snapshots written since the stream was trimmed last, at most. */
    snapshots: bigint;
  }[];
  /** Where the next page begins; undefined after the last page. */
  next: StreamId | undefined;
}

/** The streams after an id. */
export async function readTrimmingPage(
  store: Store,
  { name, after, signal }: {
    name: string;
    after: string;
    signal: AbortSignal;
  },
  size: number,
): Promise<TrimmingPage> {
  const [{ rows }] = await store.transactions.read({ name, signal }, [
    bind(store.catalog.at("", selectTrimmingPage), after, BigInt(size)),
  ]);
  const next = rows.length < size ? undefined : rows.at(-1)![0] as StreamId;
  const streams = rows.filter(([, , elsewhere]) => !elsewhere).map((
    [id, latest, , mark],
  ) => ({
    streamId: id as StreamId,
    latest,
    snapshots: latest - markOf(latest, mark),
  }));
  return { streams, next };
}

/** Where a worker continues; null if done; undefined if it never began. */
export async function readCursor(
  store: Store,
  worker: string,
  signal: AbortSignal,
): Promise<string | null | undefined> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name: worker, signal },
    [bind(store.catalog.at("", selectCursor), worker)],
  );
  return row?.[0];
}

/** Remembers where a worker continues, or that it is done. */
export async function writeCursor(
  store: Store,
  worker: string,
  cursor: string | null,
): Promise<void> {
  await writeOwnRows(store, { name: worker }, [
    bind(store.catalog.at("", upsertCursor), worker, cursor),
  ]);
}
