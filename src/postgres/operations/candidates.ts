import { bind } from "../../database/statement.ts";
import {
  candidateExists,
  candidateTooOld,
  noMiniblocks,
  storedExternally,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { bytesToHex } from "../../storage/stream_id.ts";
import {
  checkCandidate,
  insertCandidate,
  insertDueCandidate,
  isCandidateStored,
} from "../sql/candidates.ts";
import { checkCandidates, insertCandidateWithin } from "../sql/quotas.ts";
import { contextOf, type Store, type StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { looking } from "./recognise.ts";
import { snapshotOf } from "./write_miniblocks.ts";

const quota = "candidatesPerHeight";

type Candidate = MiniblockDescriptor & { hash: Uint8Array };

/** See {@linkcode StreamStorage.writeMiniblockCandidate}. */
export async function writeMiniblockCandidate(
  store: Store,
  call: StreamCall,
  miniblock: MiniblockDescriptor,
): Promise<void> {
  // Its hash was checked with the other arguments.
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
    shared: (cached) => ({
      bound: limit === 0n
        ? bind(catalog.of(streamId, insertDueCandidate), ...row)
        : bind(catalog.of(streamId, insertCandidateWithin), ...row, limit),
      // It leaves the minipool alone, so what is cached of that stays true.
      ...(cached !== undefined && { end: cached, isUnchecked: true }),
    }),
    ...(limit > 0n && {
      sharedRow: ([, others]: readonly unknown[]) => grown(others as bigint),
    }),
    bound: [
      bind(catalog.of(streamId, checkCandidate), streamId, number),
      // Without a limit it is not sent: one statement less.
      ...(limit === 0n ? [] : [
        bind(
          catalog.of(streamId, checkCandidates),
          streamId,
          number,
          hash,
          limit,
        ),
      ]),
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
    wasDone: () => isStored(store, looking(call), candidate),
    refused: ({ reason, figures }) => {
      switch (reason) {
        case "stored_externally":
          throw storedExternally(streamId);
        case "no_miniblocks":
          throw noMiniblocks("NOT_FOUND", streamId);
        case "candidates_quota":
          throw quotas!.exceeded(quota, streamId, Number(figures["actual"]));
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
