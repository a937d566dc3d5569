import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { streamType } from "../../storage/stream_id.ts";
import { deleteExternalIn } from "../sql/external.ts";
import { deleteFirstMiniblocksIn } from "../sql/miniblocks.ts";
import { checkStream } from "../sql/streams.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { inParts } from "./parts.ts";

/**
 * See {@linkcode StreamStorage.debugDeleteMiniblocks}. Deletes the lowest
 * blocks first.
 */
export async function debugDeleteMiniblocks(
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
      refused: () => streamNotFound(streamId),
    }));
}
