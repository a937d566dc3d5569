import { Slices } from "../../database/slices.ts";
import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type {
  MiniblockDescriptor,
  ReadStreamFromLastSnapshotResult,
} from "../../storage/model.ts";
import {
  assembleStreamView,
  descriptorOf,
  latestSnapshotOf,
  type MinipoolRow,
} from "../../storage/rules.ts";
import { miniblockSlot, selectStream } from "../sql/reading.ts";
import type { ReadStore, StreamCall } from "../store.ts";
import { following, moved, readExternal } from "./external_blocks.ts";
import { lookAtRow } from "./look.ts";
import { findLast } from "./miniblock_numbers.ts";

/** See {@linkcode StreamReader.readStreamFromLastSnapshot}. */
export function readStreamFromLastSnapshot(
  store: ReadStore,
  call: StreamCall,
  numPreceding: number,
): Promise<ReadStreamFromLastSnapshotResult> {
  return following(call.streamId, () => readOnce(store, call, numPreceding));
}

async function readOnce(
  store: ReadStore,
  call: StreamCall,
  numPreceding: number,
): Promise<ReadStreamFromLastSnapshotResult | typeof moved> {
  const { streamId } = call;
  const select = store.catalog.of(streamId, selectStream);
  const bound = bind(select, streamId, BigInt(numPreceding));
  const { rows, version } = await lookAtRow(store, call, bound);
  const stream = rows[0];
  if (stream === undefined || stream[1] >= miniblockSlot) {
    throw streamNotFound(streamId);
  }
  let blocks: MiniblockDescriptor[] = [];
  const minipool: MinipoolRow[] = [];
  const isLong = rows.length > manyRows;
  const slices = new Slices();
  // The turn in which the last rows came may have taken its time already.
  if (isLong) await slices.next();
  for (let i = 1; i < rows.length; i++) {
    if (slices.isOver) await slices.next();
    const [number, slot, data, snapshot] = rows[i]!;
    if (slot === miniblockSlot) {
      blocks.push(descriptorOf({ number, data: data!, snapshot }));
    } else {
      minipool.push({ generation: number, slot: Number(slot), envelope: data });
    }
  }
  if (stream[2]?.[0] !== inDatabase) {
    const found = await readExternal(store, call, {
      first: latestSnapshotOf(stream[0]) - BigInt(numPreceding),
      last: maxNumber,
      omitSnapshot: false,
      version,
    });
    if (found === moved) return moved;
    blocks = found.blocks.map((block) => descriptorOf(block));
  }
  if (isLong) await slices.next();
  return assembleStreamView(streamId, {
    latestSnapshot: stream[0],
    blocks,
    lastBelow: blocks.length > 0 ? undefined : await lastStored(store, call),
    minipool,
    numPreceding,
  });
}

/** From this many rows on, they are assembled in slices of their own. */
const manyRows = 2000;

/** The byte of `blockdata_ext` for blocks in the database. */
const inDatabase = "D".charCodeAt(0);

const maxNumber = 2n ** 63n - 1n;

/** The last block. Only a corrupt stream has none from its snapshot on. */
async function lastStored(
  store: ReadStore,
  call: StreamCall,
): Promise<bigint | undefined> {
  return (await findLast(store, call))?.last;
}
