import { bind } from "../../database/statement.ts";
import {
  candidateNotFound,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { descriptorOf } from "../../storage/rules.ts";
import { bytesToHex } from "../../storage/stream_id.ts";
import { countCandidates, selectCandidate } from "../sql/candidates.ts";
import type { ReadStore, StreamCall } from "../store.ts";

/** See {@linkcode StreamReader.readMiniblockCandidate}. */
export async function readMiniblockCandidate(
  store: ReadStore,
  { name, streamId, signal }: StreamCall,
  blockHash: Uint8Array,
  blockNumber: bigint,
): Promise<MiniblockDescriptor> {
  const hash = bytesToHex(blockHash);
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(
      store.catalog.of(streamId, selectCandidate),
      streamId,
      blockNumber,
      hash,
    )],
  );
  if (row === undefined) throw streamNotFound(streamId);
  const [data, snapshot] = row;
  if (data === null) throw candidateNotFound(streamId, blockNumber, hash);
  return {
    ...descriptorOf({ number: blockNumber, data, snapshot }),
    // slice() of a Buffer would be a view of the same memory.
    hash: new Uint8Array(blockHash),
  };
}

/** See {@linkcode StreamReader.getMiniblockCandidateCount}. */
export async function getMiniblockCandidateCount(
  store: ReadStore,
  { name, streamId, signal }: StreamCall,
  number: bigint,
): Promise<number> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, countCandidates), streamId, number)],
  );
  if (row === undefined) throw streamNotFound(streamId);
  return Number(row[0]);
}
