import { bind } from "../../database/statement.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import {
  deleteTaskOf,
  deleteVoidTasks,
  selectDueTasks,
  selectMediaStreams,
  setTaskAside,
} from "../sql/media_tasks.ts";
import type { Store } from "../store.ts";
import { writeOwnRows } from "../write_path/stream_write.ts";

const name = "offloadMedia";

/** What the offloader has to do about a media stream. */
export interface MediaTask {
  streamId: StreamId;
  kind: "offload" | "delete";
  /** Whether an earlier stream of this id has left a void task. */
  hasVoid: boolean;
}

/** At most `limit` due tasks, those that have been due longest first. */
export async function listDueTasks(
  store: Store,
  limit: number,
  signal: AbortSignal,
): Promise<MediaTask[]> {
  const [{ rows }] = await store.transactions.read({ name, signal }, [
    bind(store.catalog.at("", selectDueTasks), BigInt(limit)),
  ]);
  return rows.map(([streamId, kind, hasVoid]) => ({
    streamId: streamId as StreamId,
    kind: kind as MediaTask["kind"],
    hasVoid,
  }));
}

/**
 * Looks at the next media streams after an id. Returns those that are in the
 * database without a task, and the last id, undefined at the end.
 */
export async function listUnmoved(
  store: Store,
  after: string,
  limit: number,
  signal: AbortSignal,
): Promise<{ tasks: MediaTask[]; last: string | undefined }> {
  const [{ rows }] = await store.transactions.read({ name, signal }, [
    bind(store.catalog.at("", selectMediaStreams), after, BigInt(limit)),
  ]);
  return {
    tasks: rows.filter(([, waits]) => waits).map(([id, , hasVoid]) => ({
      streamId: id as StreamId,
      kind: "offload",
      hasVoid,
    })),
    last: rows.length < limit ? undefined : rows.at(-1)![0],
  };
}

/** Deletes the void tasks that earlier streams of these ids have left. */
export async function dropVoidTasks(
  store: Store,
  tasks: readonly MediaTask[],
): Promise<void> {
  const ids = tasks.filter(({ hasVoid }) => hasVoid).map((t) => t.streamId);
  if (ids.length === 0) return;
  await writeOwnRows(store, { name }, [
    bind(store.catalog.at("", deleteVoidTasks), ids),
  ]);
}

/** How long a task that has failed is set aside, in milliseconds. */
export interface Aside {
  /** After the first failure; each further one doubles it. */
  minMs: number;
  maxMs: number;
}

/** Sets a task aside for a while. */
export async function setAside(
  store: Store,
  { streamId, kind }: Pick<MediaTask, "streamId" | "kind">,
  reason: string,
  { minMs, maxMs }: Aside,
): Promise<void> {
  await writeOwnRows(store, { name, tags: streamId }, [
    bind(
      store.catalog.at("", setTaskAside),
      streamId,
      kind,
      reason,
      BigInt(minMs),
      BigInt(maxMs),
    ),
  ]);
}

/** Deletes the stream's task, because there is nothing to do. */
export async function dropTask(
  store: Store,
  { streamId, kind }: MediaTask,
): Promise<void> {
  await writeOwnRows(store, { name, tags: streamId }, [
    bind(store.catalog.at("", deleteTaskOf), streamId, kind),
  ]);
}
