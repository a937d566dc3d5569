import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { deleteEphemeralAge, deleteStreamRow } from "../sql/streams.ts";
import { deleteTrimmingMark } from "../sql/trimming.ts";
import { type Store, type StreamCall, writeStream } from "../store.ts";
import { leftoversGone } from "./create_stream.ts";

/** Removes every row of a stream. */
export async function deleteStream(
  store: Store,
  call: StreamCall,
): Promise<void> {
  const { catalog } = store;
  try {
    await writeStream(store, call, {
      bytes: 0,
      bound: [
        bind(catalog.of(call.streamId, deleteStreamRow), call.streamId),
        bind(catalog.of(call.streamId, deleteEphemeralAge), call.streamId),
        bind(catalog.of(call.streamId, deleteTrimmingMark), call.streamId),
        ...leftoversGone(catalog, call.streamId),
      ],
      settle: () => {
        store.knownMinipools.delete(call.streamId);
      },
      refused: (_, afterUnknown) => {
        // Gone is what the caller wanted, and an attempt whose answer was lost
        // is the likeliest to have done it: nobody else writes here.
        if (!afterUnknown) throw streamNotFound(call.streamId);
      },
    });
  } finally {
    store.legacySnapshots.forget(call.streamId);
    store.quotas?.forget(call.streamId);
  }
}
