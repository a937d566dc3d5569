import { bind } from "../../database/statement.ts";
import type { MiniblockDescriptor, NewMinipool } from "../../storage/model.ts";
import { selectLatestSnapshot } from "../sql/quotas.ts";
import type { Store, StreamCall } from "../store.ts";

/** How blocks are admitted by the quotas. */
export interface BlocksAdmission {
  /** Absent: they fit. Else, in their turn: throws when they do not. */
  check?: () => Promise<void>;
  /** They were committed. */
  done(): void;
}

const quota = "blocksSinceSnapshot";

/**
 * Whether the blocks may be added, `latest` being their last snapshot; undefined
 * when there are no quotas.
 *
 * @throws {StreamStorageError} RESOURCE_EXHAUSTED when they are too many behind
 *   their own snapshot.
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
  // The latest one at its turn is this one or a later one.
  const fits = known.latest !== undefined &&
    last - known.latest <= BigInt(limit);
  if (fits) return { done };
  const check = async () => {
    const stored = await latestSnapshot(store, call);
    // Of a stream that is unknown its write will tell.
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
