import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type { MiniblocksStoredLocation } from "../../storage/model.ts";
import { selectDataSize, selectStreamRow } from "../sql/streams.ts";
import { contextOf, type ReadStore, type StreamCall } from "../store.ts";

const locations: Readonly<Record<string, MiniblocksStoredLocation>> = {
  D: "db",
  S: "s3",
  G: "gcs",
};

/** See {@linkcode StreamReader.isStreamEphemeral}. */
export async function isStreamEphemeral(
  store: ReadStore,
  call: StreamCall,
): Promise<boolean> {
  return (await streamFacts(store, call)).ephemeral;
}

/** See {@linkcode StreamReader.streamMiniblocksStoredLocation}. */
export async function streamMiniblocksStoredLocation(
  store: ReadStore,
  call: StreamCall,
): Promise<MiniblocksStoredLocation> {
  return (await streamFacts(store, call)).location;
}

async function streamFacts(
  store: ReadStore,
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

/** The bytes of the stream's blocks that are in the database. */
export async function dataSizeInDatabase(
  store: ReadStore,
  call: StreamCall,
): Promise<bigint> {
  const { streamId } = call;
  const [{ rows: [row] }] = await store.transactions.read(contextOf(call), [
    bind(store.catalog.of(streamId, selectDataSize), streamId),
  ]);
  if (row === undefined) throw streamNotFound(streamId);
  return row[0];
}
