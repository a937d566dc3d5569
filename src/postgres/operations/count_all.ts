import { bind } from "../../database/statement.ts";
import {
  type StreamId,
  streamType,
  streamTypes,
} from "../../storage/stream_id.ts";
import { mediaTasks } from "../../telemetry/known_names.ts";
import type { Counts } from "../../telemetry/stream_counts.ts";
import {
  countMediaTasks,
  countStreamsByType,
  countUnmoved,
} from "../sql/counts.ts";
import type { Store } from "../store.ts";

const name = "countStreams";

/** The number of streams of each type, and of those that wait to be moved. */
export async function countAll(
  store: Store,
  signal: AbortSignal,
): Promise<Counts> {
  const [{ rows }] = await store.transactions.read({ name, signal }, [
    bind(store.catalog.at("", countStreamsByType)),
  ]);
  const streams = zeros(streamTypes);
  // The first byte is the type; the other digits are not looked at.
  for (const [digits, count] of rows) {
    add(streams, streamType(digits as StreamId), count);
  }
  return { streams, waiting: await countWaiting(store, signal) };
}

async function countWaiting(
  { media, catalog, transactions }: Store,
  signal: AbortSignal,
): Promise<Counts["waiting"]> {
  if (media === undefined) return undefined;
  const waiting = zeros(mediaTasks);
  const [{ rows: tasks }] = await transactions.read({ name, signal }, [
    bind(catalog.at("", countMediaTasks)),
  ]);
  for (const [task, count] of tasks) add(waiting, task, count);
  if (media.migrateExisting) {
    const [{ rows: [row] }] = await transactions.read({ name, signal }, [
      bind(catalog.at("", countUnmoved)),
    ]);
    add(waiting, "offload", row![0]);
  }
  return waiting;
}

function zeros(keys: readonly string[]): Map<string, number> {
  return new Map(keys.map((key) => [key, 0]));
}

function add(to: Map<string, number>, key: string, count: bigint): void {
  to.set(key, (to.get(key) ?? 0) + Number(count));
}
