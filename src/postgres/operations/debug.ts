import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type {
  DebugReadStreamDataResult,
  DebugReadStreamStatisticsResult,
} from "../../storage/model.ts";
import { descriptorOf, latestSnapshotOf } from "../../storage/rules.ts";
import { hexToBytes } from "../../storage/stream_id.ts";
import { selectEverything, selectStatistics } from "../sql/state.ts";
import type { ReadStore, StreamCall } from "../store.ts";
import { following, moved, readExternal } from "./external_blocks.ts";
import { lookAtBlocks, lookAtRow } from "./look.ts";
import {
  rangesOfRows,
  rangesWithSnapshots,
  seeExternal,
} from "./snapshot_search.ts";

/** See {@linkcode StreamReader.debugReadStreamData}. */
export function debugReadStreamData(
  store: ReadStore,
  call: StreamCall,
): Promise<DebugReadStreamDataResult> {
  return following(call.streamId, () => readOnce(store, call));
}

async function readOnce(
  store: ReadStore,
  call: StreamCall,
): Promise<DebugReadStreamDataResult | typeof moved> {
  const { streamId } = call;
  const { rows: [stream, ...rows], version } = await lookAtRow(
    store,
    call,
    bind(store.catalog.of(streamId, selectEverything), streamId),
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
  const found = await readExternal(store, call, { ...everything, version });
  if (found === moved) return moved;
  const miniblocks = found.blocks.map((block) => descriptorOf(block));
  return { ...result, miniblocks };
}

const everything = { first: 0n, last: 2n ** 63n - 1n, omitSnapshot: false };

/** See {@linkcode StreamReader.debugReadStreamStatistics}. */
export async function debugReadStreamStatistics(
  store: ReadStore,
  call: StreamCall,
): Promise<DebugReadStreamStatisticsResult> {
  const { streamId } = call;
  const select = bind(store.catalog.of(streamId, selectStatistics), streamId);
  const look = async () => {
    const { rows: [stream, ...rows], version, isStill } = await lookAtBlocks(
      store,
      call,
      select,
    );
    if (stream?.[0] !== 0) throw streamNotFound(streamId);
    const ofKind = (kind: number) => rows.filter((row) => row[0] === kind);
    const found = { stream, candidates: ofKind(3) };
    if (stream[3] === "D") {
      const blocks = ofKind(1).map(([, ...row]) => row);
      return { ...found, ranges: await rangesOfRows(blocks), isStill };
    }
    const seen = await seeExternal(store, call, version);
    return seen === moved ? moved : { ...found, ...seen };
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
