import { bind } from "../../database/statement.ts";
import type { MiniblockDescriptor, NewMinipool } from "../../storage/model.ts";
import { selectLatestSnapshot } from "../sql/quotas.ts";
import type { Store, StreamCall } from "../store.ts";

/** How the quotas admit blocks. */
export interface BlocksAdmission {
  /** Absent if the blocks fit. Else called in their turn; throws if not. */
  check?: () => Promise<void>;
  /** To be called once the blocks are committed. */
  done(): void;
}

const quota = "blocksSinceSnapshot";

/**
 * Whether the blocks may be added; `latest` is their own last snapshot. Returns
 * undefined if there are no quotas.
 *
 * @throws {StreamStorageError} RESOURCE_EXHAUSTED if too many of the blocks
 *   follow their own last snapshot.
 */
export function admitBlocks(
  store: Store,
  call: StreamCall,
  { miniblocks, newMinipool }: {
    miniblocks: readonly MiniblockDescriptor[];
    newMinipool: NewMinipool;
  },
  latest: bigint | undefined,
): BlocksAdmission | undefined {
  const { quotas } = store;
  if (quotas === undefined) return undefined;
  const { streamId } = call;
  const last = miniblocks.at(-1)!.number;
  const limit = quotas.limitOf(quota);
  if (latest !== undefined) {
    quotas.check(quota, streamId, Number(last - latest));
  }
  const begun = quotas.minipoolBytes?.begins(streamId, newMinipool);
  if (limit === 0) return { done: () => begun?.() };
  const known = quotas.snapshotOf(streamId);
  const done = () => {
    begun?.();
    if (latest !== undefined) known.latest = latest;
    if (known.latest === undefined) return;
    const since = Number(last - known.latest);
    quotas.grown(quota, streamId, since - miniblocks.length, since);
  };
  if (latest !== undefined) return { done };
  // When the write's turn comes, the stream has this snapshot or a later one.
  const fits = known.latest !== undefined &&
    last - known.latest <= BigInt(limit);
  if (fits) return { done };
  const check = async () => {
    const stored = await latestSnapshot(store, call);
    // The write itself reports an unknown stream.
    if (stored === undefined) return;
    known.latest = stored;
    quotas.check(quota, streamId, Number(last - stored));
  };
  return { check, done };
}

async function latestSnapshot(
  store: Store,
  { name, streamId }: StreamCall,
): Promise<bigint | undefined> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId },
    [bind(store.catalog.of(streamId, selectLatestSnapshot), streamId)],
  );
  return row?.[0];
}
