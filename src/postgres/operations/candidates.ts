import { bind } from "../../database/statement.ts";
import {
  candidateExists,
  candidateNotFound,
  candidateTooOld,
  noMiniblocks,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { descriptorOf } from "../../storage/rules.ts";
import { bytesToHex } from "../../storage/stream_id.ts";
import {
  checkCandidate,
  countCandidates,
  insertCandidate,
  insertDueCandidate,
  isCandidateStored,
  selectCandidate,
} from "../sql/candidates.ts";
import { type Store, type StreamCall, writeStream } from "../store.ts";
import { snapshotOf } from "./write_miniblocks.ts";

/** Stores a proposed block. */
export async function writeCandidate(
  store: Store,
  call: StreamCall,
  candidate: MiniblockDescriptor & { hash: Uint8Array },
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  const { number, data } = candidate;
  const hash = bytesToHex(candidate.hash);
  const snapshot = snapshotOf(candidate);
  await writeStream(store, call, {
    bytes: data.length + (snapshot?.length ?? 0),
    shared: bind(
      catalog.of(streamId, insertDueCandidate),
      streamId,
      number,
      hash,
      data,
      snapshot,
    ),
    bound: [
      bind(catalog.of(streamId, checkCandidate), streamId, number),
      bind(
        catalog.of(streamId, insertCandidate),
        streamId,
        number,
        hash,
        data,
        snapshot,
      ),
    ],
    settle: async ([, inserted], afterUnknown) => {
      if (inserted.count === 1) return;
      if (afterUnknown && await isStored(store, call, candidate)) return;
      throw candidateExists(streamId, number, hash);
    },
    refused: ({ reason, figures }) => {
      switch (reason) {
        case "no_miniblocks":
          throw noMiniblocks("NOT_FOUND", streamId);
        case "candidate_too_old":
          throw candidateTooOld(streamId, figures["last"]!, number);
        default:
          throw streamNotFound(streamId);
      }
    },
  });
}

async function isStored(
  store: Store,
  { name, streamId }: StreamCall,
  { number, hash, data }: MiniblockDescriptor & { hash: Uint8Array },
): Promise<boolean> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, afterUnknown: true },
    [bind(
      store.catalog.of(streamId, isCandidateStored),
      streamId,
      number,
      bytesToHex(hash),
      data,
    )],
  );
  return row?.[0] === true;
}

/** Reads a proposed block by its number and hash. */
export async function readCandidate(
  store: Store,
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
    // Not slice(): that of a Buffer is a view of the same memory.
    hash: new Uint8Array(blockHash),
  };
}

/** How many blocks are proposed for a number. */
export async function countCandidatesAt(
  store: Store,
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
