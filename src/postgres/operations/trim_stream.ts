import { bind } from "../../database/statement.ts";
import {
  latestSnapshotProtected,
  storedExternally,
  streamNotFound,
  trimAboveSnapshot,
} from "../../storage/contract_errors.ts";
import {
  clearFirstSnapshots,
  deleteFirstMiniblocksIn,
} from "../sql/miniblocks.ts";
import { checkTrim } from "../sql/streams.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { inParts } from "./parts.ts";

/**
 * See {@linkcode StreamStorage.trimStream}.
 *
 * Removes the blocks below `to`, the lowest first, then the listed snapshots,
 * mostly in one transaction. After each transaction, the stream is a trimmed
 * one.
 */
export async function trimStream(
  store: Store,
  call: StreamCall,
  to: bigint,
  nullify: readonly bigint[],
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  let from = 0n;
  const trimPart = () =>
    writeStream(store, call, {
      bound: [
        bind(catalog.of(streamId, checkTrim), streamId, to, nullify),
        bind(catalog.of(streamId, deleteFirstMiniblocksIn), streamId, from, to),
        bind(
          catalog.of(streamId, clearFirstSnapshots),
          streamId,
          nullify,
          from,
          to,
        ),
      ],
      // Trimming twice has the effect of once, so a lost answer needs no look.
      settle: (results) => {
        const [, { rows: [next] }, { rows: [more] }] = results!;
        from = next![0] ?? from;
        return { isMore: next![0] !== null || more![0] };
      },
      refused: ({ reason, figures }) => {
        switch (reason) {
          case "stored_externally":
            return storedExternally(streamId);
          case "above_latest_snapshot":
            return trimAboveSnapshot(streamId, to, figures["latest"]!);
          case "latest_snapshot_protected":
            return latestSnapshotProtected(streamId, figures["latest"]!);
          default:
            return streamNotFound(streamId);
        }
      },
    });
  try {
    await inParts(call, trimPart);
  } finally {
    store.cache.legacySnapshots.forget(streamId, to);
  }
}
