import type { Rejection } from "../../database/rejection.ts";
import { bind, type Bound } from "../../database/statement.ts";
import {
  candidateExists,
  candidateTooOld,
  noMiniblocks,
  storedExternally,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import type { StreamStorageError } from "../../storage/errors.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { bytesToHex, type StreamId } from "../../storage/stream_id.ts";
import type { Catalog } from "../catalog.ts";
import {
  checkCandidate,
  insertCandidate,
  insertDueCandidate,
  isCandidateStored,
} from "../sql/candidates.ts";
import { checkCandidates, insertCandidateWithin } from "../sql/quotas.ts";
import { contextOf, type Store, type StreamCall } from "../store.ts";
import type { MinipoolEnd } from "../write_path/minipool_cache.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { snapshotOf } from "./write_miniblocks.ts";

const quota = "candidatesPerHeight";

type Candidate = MiniblockDescriptor & { hash: Uint8Array };

/** See {@linkcode StreamStorage.writeMiniblockCandidate}. */
export async function writeMiniblockCandidate(
  store: Store,
  call: StreamCall,
  miniblock: MiniblockDescriptor,
): Promise<void> {
  // The hash was checked with the other arguments.
  const candidate = miniblock as Candidate;
  const { catalog, quotas } = store;
  const { streamId } = call;
  const { number, data } = candidate;
  const hash = bytesToHex(candidate.hash);
  const snapshot = snapshotOf(candidate);
  const row = [streamId, number, hash, data, snapshot] as const;
  const limit = BigInt(quotas?.limitOf(quota) ?? 0);
  const grown = (others: bigint) =>
    quotas?.grown(quota, streamId, Number(others), Number(others) + 1);
  await writeStream(store, call, {
    bytes: data.length + (snapshot?.length ?? 0),
    shared: {
      bind: (cached) => ({
        bound: limit === 0n
          ? bind(catalog.of(streamId, insertOf(cached, number)), ...row)
          : bind(catalog.of(streamId, insertCandidateWithin), ...row, limit),
        // A candidate changes nothing that the cache says of the minipool.
        ...(cached !== undefined && { end: cached, isUnchecked: true }),
      }),
      ...(limit > 0n && {
        done: ([, others]: readonly unknown[]) => grown(others as bigint),
      }),
    },
    bound: [
      bind(catalog.of(streamId, checkCandidate), streamId, number),
      // Without a limit, this statement is not needed.
      ...(limit === 0n ? [] : [countCheck(catalog, row, limit)]),
      bind(catalog.of(streamId, insertCandidate), ...row),
    ],
    settle: (results) => {
      if (results === undefined) return;
      const [inserted, counted] = results.toReversed();
      if (inserted?.count === 1) {
        if (limit > 0n) grown(counted!.rows[0]![1] as bigint);
        return;
      }
      throw candidateExists(streamId, number, hash);
    },
    wasDone: (look) => isStored(store, look, candidate),
    refused: (rejection) => refusal(store, call, number, rejection),
  });
}

/** Stops the transaction if the quota allows no further candidate. */
function countCheck(
  catalog: Catalog,
  [streamId, number, hash]: readonly [StreamId, bigint, string, ...unknown[]],
  limit: bigint,
): Bound {
  return bind(
    catalog.of(streamId, checkCandidates),
    streamId,
    number,
    hash,
    limit,
  );
}

function refusal(
  { quotas }: Store,
  { streamId }: StreamCall,
  number: bigint,
  { reason, figures }: Rejection,
): StreamStorageError {
  switch (reason) {
    case "stored_externally":
      return storedExternally(streamId);
    case "no_miniblocks":
      return noMiniblocks("NOT_FOUND", streamId);
    case "candidates_quota":
      return quotas!.exceeded(quota, streamId, Number(figures["actual"]));
    case "candidate_too_old":
      return candidateTooOld(streamId, figures["last"]!, number);
    default:
      return streamNotFound(streamId);
  }
}

/**
 * If the minipool is known to follow the last block, the INSERT needs no look
 * at that block, and its plan has a third of the size. It is sent only behind
 * the lock of an unchanged stream.
 */
function insertOf(cached: MinipoolEnd | undefined, number: bigint) {
  const isDue = cached?.isContiguous && number >= cached.generation;
  return isDue ? insertCandidate : insertDueCandidate;
}

async function isStored(
  store: Store,
  call: StreamCall,
  { number, hash, data }: Candidate,
): Promise<boolean> {
  const { streamId } = call;
  const [{ rows: [row] }] = await store.transactions.read(
    contextOf(call),
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
