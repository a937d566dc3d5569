import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type { MiniblocksStoredLocation } from "../../storage/model.ts";
import { selectLastMiniblock } from "../sql/reading.ts";
import { selectStreamRow } from "../sql/streams.ts";
import type { Store, StreamCall } from "../store.ts";

const locations: Readonly<Record<string, MiniblocksStoredLocation>> = {
  D: "db",
  S: "s3",
  G: "gcs",
};

/** Whether the stream is ephemeral, and where its blocks are. */
export async function streamFacts(
  store: Store,
  { name, streamId, signal }: StreamCall,
): Promise<{ ephemeral: boolean; location: MiniblocksStoredLocation }> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectStreamRow), streamId)],
  );
  if (row === undefined) throw streamNotFound(streamId);
  const [ephemeral, ext] = row;
  return { ephemeral, location: locations[ext] ?? "db" };
}

/** The number of the last block, -1 without any. */
export async function maxArchivedNumber(
  store: Store,
  { name, streamId, signal }: StreamCall,
): Promise<bigint> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectLastMiniblock), streamId)],
  );
  if (row === undefined) throw streamNotFound(streamId);
  return row[0] ?? -1n;
}
