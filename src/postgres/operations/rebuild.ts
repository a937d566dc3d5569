import { bind, type Bound } from "../../database/statement.ts";
import { checkNewStreamId } from "../../storage/arguments.ts";
import {
  ephemeralStream,
  noMiniblocks,
  precedingNotBelowLast,
  storedExternally,
  streamExists,
} from "../../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import type { MiniblockRow } from "../../storage/rules.ts";
import { checkRebuild } from "../../storage/write_rules.ts";
import { deleteCandidatesBelow } from "../sql/candidates.ts";
import { setSnapshot } from "../sql/miniblocks.ts";
import { deleteMinipool, insertMarker } from "../sql/minipools.ts";
import { selectMiniblock } from "../sql/state.ts";
import { insertStream, regularizeStream } from "../sql/streams.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { creating, noLeftovers } from "./leftovers.ts";
import { endsWithBlock } from "./recognise.ts";
import {
  findState,
  type NumberRange,
  readState,
  type StreamState,
  unchanged,
} from "./stream_state.ts";
import { miniblockRows, miniblocksBytes } from "./write_miniblocks.ts";

/** See {@linkcode StreamStorage.writePrecedingMiniblocks}. */
export async function writePrecedingMiniblocks(
  store: Store,
  call: StreamCall,
  miniblocks: readonly MiniblockDescriptor[],
): Promise<void> {
  const { streamId } = call;
  await writeStream(store, call, {
    bytes: miniblocksBytes(miniblocks),
    endsBeliefs: true,
    bound: async () => {
      const range = rangeOf(miniblocks);
      const state = await readState(store, call, range);
      if (state.blockdataExt !== "D") throw storedExternally(streamId);
      if (state.last === undefined) {
        throw noMiniblocks("FAILED_PRECONDITION", streamId);
      }
      if (range.last >= state.last) {
        throw precedingNotBelowLast(streamId, range.last, state.last);
      }
      return [
        unchanged(store, state),
        ...await miniblockRows(
          store.catalog,
          call,
          missing(miniblocks, state),
        ),
      ];
    },
    wasDone: async (look) => {
      const range = rangeOf(miniblocks);
      const state = await findState(store, look, range);
      return state?.numbers.length === miniblocks.length;
    },
  });
}

/** A whole stream, as another node has stored it. */
interface Rebuild {
  miniblocks: readonly MiniblockDescriptor[];
  snapshot: bigint;
  updateExisting: boolean;
}

/** See {@linkcode StreamStorage.reinitializeStreamStorage}. */
export async function reinitializeStreamStorage(
  store: Store,
  call: StreamCall,
  miniblocks: readonly MiniblockDescriptor[],
  snapshot: bigint,
  updateExisting: boolean,
): Promise<void> {
  const { streamId } = call;
  const rebuild = { miniblocks, snapshot, updateExisting };
  let isKnown = false;
  const write = creating(store, call, {
    bytes: miniblocksBytes(miniblocks),
    endsBeliefs: true,
    bound: async () => {
      const state = await findState(store, call, rangeOf(miniblocks));
      isKnown = state !== undefined;
      return state === undefined
        ? await createRows(store, call, rebuild)
        : await updateRows(store, call, rebuild, state);
    },
    wasDone: (look) => endsWithBlock(store, look, miniblocks.at(-1)!),
  });
  await writeStream(store, call, write);
  if (isKnown) store.notices.snapshotWritten(streamId);
}

async function createRows(
  store: Store,
  call: StreamCall,
  rebuild: Rebuild,
): Promise<Bound[]> {
  const { catalog } = store;
  const { streamId } = call;
  checkNewStreamId(streamId);
  return [
    bind(catalog.of(streamId, insertStream), streamId, false),
    noLeftovers(catalog, streamId),
    ...await miniblockRows(catalog, call, rebuild.miniblocks),
    ...newHead(store, call, rebuild),
  ];
}

async function updateRows(
  store: Store,
  call: StreamCall,
  rebuild: Rebuild,
  state: StreamState,
): Promise<Bound[]> {
  const { catalog } = store;
  const { streamId } = call;
  const { miniblocks, snapshot } = rebuild;
  if (!rebuild.updateExisting) throw streamExists(streamId);
  if (state.ephemeral) throw ephemeralStream(streamId);
  if (state.blockdataExt !== "D") throw storedExternally(streamId);
  const snapshotRow = await readBlock(store, call, snapshot);
  const added = checkRebuild(streamId, { miniblocks, snapshot }, {
    latestSnapshot: state.latestSnapshot,
    last: state.last,
    snapshotRow,
  });
  const setMissing = added === undefined
    ? []
    : [bind(catalog.of(streamId, setSnapshot), streamId, snapshot, added)];
  return [
    unchanged(store, state),
    ...setMissing,
    ...await miniblockRows(catalog, call, missing(miniblocks, state)),
    ...newHead(store, call, rebuild),
  ];
}

/** Sets the latest snapshot and an empty minipool; deletes old candidates. */
function newHead(
  { catalog }: Store,
  { streamId }: StreamCall,
  { miniblocks, snapshot }: Rebuild,
): Bound[] {
  const generation = rangeOf(miniblocks).last + 1n;
  return [
    bind(catalog.of(streamId, regularizeStream), streamId, snapshot),
    bind(catalog.of(streamId, deleteMinipool), streamId),
    bind(catalog.of(streamId, insertMarker), streamId, generation),
    bind(catalog.of(streamId, deleteCandidatesBelow), streamId, generation),
  ];
}

async function readBlock(
  store: Store,
  { name, streamId }: StreamCall,
  number: bigint,
): Promise<MiniblockRow | undefined> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId },
    [bind(store.catalog.of(streamId, selectMiniblock), streamId, number)],
  );
  return row && { number, data: row[0], snapshot: row[1] };
}

/** The numbers of consecutive blocks. */
function rangeOf(
  miniblocks: readonly MiniblockDescriptor[],
): NumberRange {
  const first = miniblocks[0]!.number;
  return { first, last: first + BigInt(miniblocks.length) - 1n };
}

function missing(
  miniblocks: readonly MiniblockDescriptor[],
  { numbers }: StreamState,
): MiniblockDescriptor[] {
  const stored = new Set(numbers);
  return miniblocks.filter(({ number }) => !stored.has(number));
}
