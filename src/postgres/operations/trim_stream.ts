import { bind } from "../../database/statement.ts";
import {
  latestSnapshotProtected,
  storedExternally,
  streamNotFound,
  trimAboveSnapshot,
} from "../../storage/contract_errors.ts";
import { clearSnapshots, deleteMiniblocksIn } from "../sql/miniblocks.ts";
import { checkTrim } from "../sql/streams.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";

/** Removes the blocks below `to`, then the snapshots that are listed. */
export async function trimStream(
  store: Store,
  call: StreamCall,
  to: bigint,
  nullify: readonly bigint[],
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  try {
    await writeStream(store, call, {
      bytes: 0,
      bound: [
        bind(catalog.of(streamId, checkTrim), streamId, to, nullify),
        bind(catalog.of(streamId, deleteMiniblocksIn), streamId, 0n, to),
        bind(catalog.of(streamId, clearSnapshots), streamId, nullify),
      ],
      settle: () => {},
      // Trimming twice is trimming once, so no answer that was lost matters.
      refused: ({ reason, figures }) => {
        switch (reason) {
          case "stored_externally":
            throw storedExternally(streamId);
          case "above_latest_snapshot":
            throw trimAboveSnapshot(streamId, to, figures["latest"]!);
          case "latest_snapshot_protected":
            throw latestSnapshotProtected(streamId, figures["latest"]!);
          default:
            throw streamNotFound(streamId);
        }
      },
    });
  } finally {
    store.cache.legacySnapshots.forget(streamId, to);
  }
}
