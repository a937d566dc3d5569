import { bind, type Bound, type Result } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { checkMinipoolHead } from "../../storage/write_rules.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { MinipoolEnd } from "../known_minipools.ts";
import type { Quotas } from "../quotas.ts";
import {
  type BoundWrite,
  countOf,
  type SharedWrite,
  type Write,
} from "../queued_write.ts";
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

function submitEvent(
  store: Store,
  call: StreamCall,
  event: EventWrite,
  check?: () => Promise<void>,
): Promise<void> {
  return store.writes.submit(new QueuedEvent(store, call, event, check));
}

/**
 * An event on its way through the queue. The insert itself compares; a row
 * count of 0 means that it refused, and only then are the reasons looked up.
 * With a check it runs alone, behind it.
 *
 * One object for each event rather than one for each of its functions: there
 * are tens of thousands a second.
 */
class QueuedEvent implements Write<void>, SharedWrite {
  readonly streamId: StreamId;
  readonly bytes: number;
  readonly since: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly isSingle = false;
  readonly #store: Store;
  readonly #call: StreamCall;
  readonly #event: EventWrite;
  readonly #check: (() => Promise<void>) | undefined;

  constructor(
    store: Store,
    call: StreamCall,
    event: EventWrite,
    check: (() => Promise<void>) | undefined,
  ) {
    this.streamId = call.streamId;
    this.bytes = event.envelope.length;
    this.since = call.since;
    this.signal = call.signal;
    this.#store = store;
    this.#call = call;
    this.#event = event;
    this.#check = check;
  }

  get shared(): SharedWrite | undefined {
    return this.#check === undefined ? this : undefined;
  }

  bind(known: MinipoolEnd | undefined): BoundWrite {
    const { generation, slot } = this.#event;
    const isBlind = known !== undefined && known.generation === generation &&
      known.next === slot;
    return {
      bound: this.#bind(isBlind ? appendEvent : insertEvent),
      end: {
        generation,
        next: slot + 1,
        isWhole: isBlind && known.isWhole,
      },
      trusts: isBlind,
    };
  }

  isDone(result: Result): boolean {
    return countOf(result) === 1;
  }

  explain(later: number): Promise<void> {
    return explain(this.#store, this.#call, this.#event, {
      afterUnknown: false,
      later,
    });
  }

  runAlone(afterUnknown: boolean): Promise<void> {
    const check = afterUnknown ? undefined : this.#check;
    return runAlone(this.#store, this.#call, {
      bytes: this.bytes,
      bound: async () => {
        await check?.();
        return [this.#bind(insertEvent)] as const;
      },
      settle: async ([result], afterUnknown) => {
        if (this.isDone(result)) return;
        await explain(this.#store, this.#call, this.#event, {
          afterUnknown,
          later: 0,
        });
      },
    }, afterUnknown);
  }

  #bind(template: typeof insertEvent): Bound<[]> {
    const { generation, slot, envelope } = this.#event;
    const { streamId } = this;
    const statement = this.#store.catalog.of(streamId, template);
    return bind(statement, streamId, generation, BigInt(slot), envelope);
  }
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
