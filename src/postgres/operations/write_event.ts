import { bind, type Result } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { checkMinipoolHead } from "../../storage/write_rules.ts";
import type { Quotas } from "../quotas.ts";
import { countOf } from "../queued_write.ts";
import {
  appendEvent,
  insertEvent,
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
  const bindAs = (template: typeof insertEvent) =>
    bind(
      store.catalog.of(streamId, template),
      streamId,
      generation,
      BigInt(slot),
      envelope,
    );
  const isDone = (result: Result) => countOf(result) === 1;
  return store.writes.submit({
    streamId,
    bytes: envelope.length,
    signal: call.signal,
    runAlone: (afterUnknown) =>
      runAlone(store, call, {
        bytes: envelope.length,
        bound: check === undefined || afterUnknown
          ? [bindAs(insertEvent)]
          : () => check().then(() => [bindAs(insertEvent)] as const),
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
        bind: (known) => {
          const isBlind = known?.generation === generation &&
            known.next === slot;
          return {
            bound: bindAs(isBlind ? appendEvent : insertEvent),
            end: { generation, next: slot + 1 },
            isBlind,
          };
        },
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
