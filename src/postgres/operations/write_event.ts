import { bind, type Result } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { checkMinipoolHead } from "../../storage/write_rules.ts";
import type { Quotas } from "../quotas.ts";
import {
  insertEvent,
  insertNextEvent,
  selectMinipoolEnds,
} from "../sql/minipools.ts";
import { selectMinipoolBytes } from "../sql/quotas.ts";
import { runAlone, type Store, type StreamCall } from "../store.ts";

/** An event and its place. */
export interface EventWrite {
  generation: bigint;
  slot: number;
  envelope: Uint8Array;
}

/** Adds an event to the minipool, within the quotas if there are any. */
export function writeEvent(
  store: Store,
  call: StreamCall,
  event: EventWrite,
): Promise<void> {
  const { quotas } = store;
  return quotas === undefined
    ? submitEvent(store, call, event)
    : writeEventWithin(store, quotas, call, event);
}

/** Nothing is awaited before the write is in its line. */
async function writeEventWithin(
  store: Store,
  quotas: Quotas,
  call: StreamCall,
  event: EventWrite,
): Promise<void> {
  const { streamId } = call;
  const { slot } = event;
  quotas.check("minipoolEvents", streamId, slot + 1);
  const counted = quotas.minipoolBytes?.enter(streamId, event);
  try {
    await (counted === undefined || counted.fits
      ? submitEvent(store, call, event)
      : submitEvent(store, call, event, async () => {
        counted.check(await minipoolBytes(store, call));
      }));
  } catch (error) {
    counted?.failed(error);
    throw error;
  }
  counted?.done();
  quotas.grown("minipoolEvents", streamId, slot, slot + 1);
}

async function minipoolBytes(
  store: Store,
  { name, streamId }: StreamCall,
): Promise<number> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId },
    [bind(store.catalog.of(streamId, selectMinipoolBytes), streamId)],
  );
  return Number(row![0]);
}

/**
 * Adds an event to the minipool. The insert itself compares; a row count of 0
 * means that it refused, and only then are the reasons looked up. With `check`
 * it runs alone, behind it.
 */
function submitEvent(
  store: Store,
  call: StreamCall,
  event: EventWrite,
  check?: () => Promise<void>,
): Promise<void> {
  const { streamId } = call;
  const { generation, slot, envelope } = event;
  const isKnown = store.knownMinipools.get(streamId) === generation;
  const bound = bind(
    store.catalog.of(streamId, isKnown ? insertNextEvent : insertEvent),
    streamId,
    generation,
    BigInt(slot),
    envelope,
  );
  const isDone = (result: Result) => {
    if (result.count !== 1) return false;
    // The first event was added because nothing but the marker was there. For
    // a later one the ends were compared, and there may be a hole inside.
    if (!isKnown && slot === 0) store.knownMinipools.set(streamId, generation);
    return true;
  };
  return store.writes.submit({
    streamId,
    bytes: envelope.length,
    signal: call.signal,
    runAlone: (afterUnknown) =>
      runAlone(store, call, {
        bytes: envelope.length,
        bound: check === undefined || afterUnknown
          ? [bound]
          : () => check().then(() => [bound] as const),
        settle: async ([result], unknown) => {
          if (isDone(result)) return;
          await explain(store, call, event, {
            afterUnknown: unknown,
            later: 0,
          });
        },
      }, afterUnknown),
    ...(check === undefined && {
      shared: {
        bound,
        isDone,
        explain: (later) =>
          explain(store, call, event, { afterUnknown: false, later }),
        isSingle: false,
      },
    }),
  });
}

/** Throws the reason, unless this very event is there already. */
async function explain(
  store: Store,
  { name, streamId }: StreamCall,
  { generation, slot, envelope }: EventWrite,
  { afterUnknown, later }: { afterUnknown: boolean; later: number },
): Promise<void> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, afterUnknown },
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
      // As it was before the later events of the same transaction.
      newest: { generation: highest, slot: Number(last) - later },
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
