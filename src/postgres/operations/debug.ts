import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type {
  DebugReadStreamDataResult,
  DebugReadStreamStatisticsResult,
} from "../../storage/model.ts";
import { descriptorOf, latestSnapshotOf } from "../../storage/rules.ts";
import { hexToBytes, streamType } from "../../storage/stream_id.ts";
import { deleteExternalIn } from "../sql/external.ts";
import { deleteFirstMiniblocksIn } from "../sql/miniblocks.ts";
import { selectEverything, selectStatistics } from "../sql/state.ts";
import { checkStream } from "../sql/streams.ts";
import { contextOf, type Store, type StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import {
  following,
  moved,
  readExternal,
  readExternalNumbers,
} from "./external_blocks.ts";
import { inParts } from "./parts.ts";
import {
  rangesOfExternal,
  rangesOfRows,
  rangesWithSnapshots,
} from "./snapshot_search.ts";

/** Everything that is stored of a stream. */
export function debugReadData(
  store: Store,
  call: StreamCall,
): Promise<DebugReadStreamDataResult> {
  return following(call.streamId, () => readOnce(store, call));
}

async function readOnce(
  store: Store,
  call: StreamCall,
): Promise<DebugReadStreamDataResult | typeof moved> {
  const { name, streamId, signal } = call;
  const [{ rows: [stream, ...rows] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectEverything), streamId)],
  );
  if (stream?.[0] !== 0) throw streamNotFound(streamId);
  const result: DebugReadStreamDataResult = {
    streamId,
    latestSnapshotMiniblockNum: latestSnapshotOf(stream[1]),
    miniblocks: [],
    events: [],
    miniblockCandidates: [],
  };
  for (const [kind, number, slot, hash, data, snapshot] of rows) {
    if (kind === 2) {
      const event = { generation: number, slot: Number(slot) };
      result.events.push(data?.length ? { ...event, data } : event);
      continue;
    }
    const block = descriptorOf({ number, data: data!, snapshot });
    if (kind === 1) result.miniblocks.push(block);
    else {
      result.miniblockCandidates.push({ ...block, hash: hexToBytes(hash!) });
    }
  }
  if (stream[3] === "D") return result;
  const found = await readExternal(store, call, everything);
  if (found === moved) return moved;
  const miniblocks = found.blocks.map((block) => descriptorOf(block));
  return { ...result, miniblocks };
}

const everything = { first: 0n, last: 2n ** 63n - 1n, omitSnapshot: false };

/** What is stored of a stream, in numbers. */
export async function debugReadStatistics(
  store: Store,
  call: StreamCall,
): Promise<DebugReadStreamStatisticsResult> {
  const { streamId } = call;
  const select = bind(store.catalog.of(streamId, selectStatistics), streamId);
  const look = async () => {
    const [{ rows: [stream, ...rows] }] = await store.transactions.read(
      contextOf(call),
      [select],
    );
    if (stream?.[0] !== 0) throw streamNotFound(streamId);
    const ofKind = (kind: number) => rows.filter((row) => row[0] === kind);
    const found = { stream, candidates: ofKind(3) };
    if (stream[3] === "D") {
      const blocks = ofKind(1).map(([, ...row]) => row);
      return { ...found, ranges: await rangesOfRows(blocks) };
    }
    const blocks = await readExternalNumbers(store, call);
    return blocks === moved ? moved : { ...found, ...rangesOfExternal(blocks) };
  };
  const { ranges, stream, candidates } = await rangesWithSnapshots(
    store,
    call,
    () => following(streamId, look),
  );
  return {
    streamId,
    latestSnapshotMiniblockNum: latestSnapshotOf(stream[1]),
    miniblockRanges: ranges,
    miniblockCandidates: candidates.map(([, number, , hash]) => ({
      number,
      hash: hexToBytes(hash!),
    })),
    minipoolEvents: Number(stream[2]),
    partitionSuffix: store.catalog.tablesOf(streamId).suffix,
  };
}

/** Deletes blocks without any guard, the lowest first. */
export async function debugDelete(
  store: Store,
  call: StreamCall,
  from: bigint,
  to: bigint,
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  const isMedia = streamType(streamId) === "media";
  let next = from;
  await inParts(call, () =>
    writeStream(store, call, {
      bytes: 0,
      endsBeliefs: true,
      bound: [
        bind(catalog.of(streamId, checkStream), streamId),
        bind(catalog.of(streamId, deleteFirstMiniblocksIn), streamId, next, to),
        ...(isMedia
          ? [bind(catalog.of(streamId, deleteExternalIn), streamId, from, to)]
          : []),
      ],
      settle: (results) => {
        const [found] = results![1].rows[0]!;
        next = found ?? to;
        return { isMore: found !== null };
      },
      refused: () => {
        throw streamNotFound(streamId);
      },
    }));
}
