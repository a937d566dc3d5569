import { bind } from "../../database/statement.ts";
import { notEphemeral, streamNotFound } from "../../storage/contract_errors.ts";
import { selectEphemeralNumbers } from "../sql/state.ts";
import type { ReadStore, StreamCall } from "../store.ts";

/** See {@linkcode StreamReader.readEphemeralMiniblockNums}. */
export async function readEphemeralMiniblockNums(
  store: ReadStore,
  { name, streamId, signal }: StreamCall,
): Promise<bigint[]> {
  const [{ rows }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectEphemeralNumbers), streamId)],
  );
  const [first] = rows;
  if (first === undefined) throw streamNotFound(streamId);
  if (!first[0]) throw notEphemeral("NOT_FOUND", streamId);
  return rows.flatMap(([, number]) => number ?? []);
}
