import { bind, type Result } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { checkMinipoolHead } from "../../storage/write_rules.ts";
import { insertEvent, selectMinipoolEnds } from "../sql/minipools.ts";
import { type Store, type StreamCall, writeStream } from "../store.ts";

/** An event and its place. */
export interface EventWrite {
  generation: bigint;
  slot: number;
  envelope: Uint8Array;
}

/**
 * Adds an event to the minipool. The insert itself compares; a row count of 0
 * means that it refused, and only then are the reasons looked up.
 */
export function writeEvent(
  store: Store,
  call: StreamCall,
  event: EventWrite,
): Promise<void> {
  const insert = bind(
    store.catalog.of(call.streamId, insertEvent),
    call.streamId,
    event.generation,
    BigInt(event.slot),
    event.envelope,
  );
  const verdict = async (result: Result, afterUnknown: boolean) => {
    if (result.count === 1) return;
    await explain(store, call, event, afterUnknown);
  };
  return writeStream(store, call, {
    bytes: event.envelope.length,
    bound: [insert],
    settle: ([result], afterUnknown) => verdict(result, afterUnknown),
    shared: { bound: insert, verdict: (result) => verdict(result, false) },
  });
}

/** Throws the reason, unless this very event is there already. */
async function explain(
  store: Store,
  { name, streamId }: StreamCall,
  { generation, slot, envelope }: EventWrite,
  afterUnknown: boolean,
): Promise<void> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId },
    [bind(
      store.catalog.of(streamId, selectMinipoolEnds),
      streamId,
      generation,
      BigInt(slot),
      envelope,
    )],
  );
  const [exists, lowest, first, highest, last, same] = row!;
  if (afterUnknown && same === true) return;
  if (!exists) throw streamNotFound(streamId);
  checkMinipoolHead(
    streamId,
    lowest === null || highest === null ? undefined : {
      oldest: { generation: lowest, slot: Number(first) },
      newest: { generation: highest, slot: Number(last) },
    },
    generation,
    slot,
  );
  throw new StreamStorageError({
    code: "DB_OPERATION_FAILURE",
    message: `Minipool of stream ${streamId} was changed by another writer`,
    details: { reason: "minipool_changed", streamId },
    retryable: true,
  });
}
