/**
 * Adds an event to a minipool (`writeEvent`). Depending on what the minipool
 * cache knows, the statement compares the whole position itself (`insertEvent`),
 * or trusts the lock of an unchanged stream (`appendEvent`); both are in
 * ../sql/minipools.ts.
 */
import { bind, type Bound } from "../../database/statement.ts";
import {
  storedExternally,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { checkMinipoolHead } from "../../storage/write_rules.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { CountedEvent } from "../minipool_bytes.ts";
import type { Quotas } from "../quotas.ts";
import {
  appendEvent,
  insertEvent,
  selectMinipoolEnds,
} from "../sql/minipools.ts";
import { selectMinipoolBytes } from "../sql/quotas.ts";
import { contextOf, type Store, type StreamCall } from "../store.ts";
import type { MinipoolEnd } from "../write_path/minipool_cache.ts";
import {
  type BoundWrite,
  countOf,
  type SharedWrite,
  type Write,
} from "../write_path/queued_write.ts";
import { runAlone } from "../write_path/stream_write.ts";

/** An event and its place. */
interface EventWrite {
  generation: bigint;
  slot: number;
  envelope: Uint8Array;
}

/** See {@linkcode StreamStorage.writeEvent}. */
export function writeEvent(
  store: Store,
  call: StreamCall,
  generation: bigint,
  slot: number,
  envelope: Uint8Array,
): Promise<void> {
  const { quotas } = store;
  const event = { generation, slot, envelope };
  return quotas === undefined
    ? submitEvent(store, call, event)
    : writeEventWithin(store, quotas, call, event);
}

/** Awaits nothing before the write is in its stream queue. */
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
      : submitCounted(store, call, event, counted));
  } catch (error) {
    counted?.failed(error);
    throw error;
  }
  counted?.done();
  quotas.grown("minipoolEvents", streamId, slot, slot + 1);
}

/**
 * Runs the event alone, after reading the minipool's bytes, unless an earlier
 * write has shown by then that the event fits.
 */
function submitCounted(
  store: Store,
  call: StreamCall,
  event: EventWrite,
  counted: CountedEvent,
): Promise<void> {
  const write = new QueuedEvent(store, call, event, async () => {
    if (!counted.fits) counted.check(await minipoolBytes(store, call));
  });
  const { streamId, bytes, submittedAt, signal } = write;
  return store.writes.submit<void>({
    streamId,
    bytes,
    submittedAt,
    signal,
    get shared() {
      return counted.fits ? write : undefined;
    },
    runAlone: (isInDoubt) => write.runAlone(isInDoubt),
  });
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
): Promise<void> {
  return store.writes.submit(new QueuedEvent(store, call, event, undefined));
}

/**
 * An event on its way through the queue. The INSERT itself compares. A row
 * count of 0 means that it has refused, and only then are the reasons looked
 * up. With a check, the event runs alone, after the check.
 *
 * An event is one object rather than one for each of its functions, because
 * tens of thousands are made in a second.
 */
class QueuedEvent implements Write<void>, SharedWrite {
  readonly streamId: StreamId;
  readonly bytes: number;
  readonly submittedAt: number | undefined;
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
    this.submittedAt = call.submittedAt;
    this.signal = call.signal;
    this.#store = store;
    this.#call = call;
    this.#event = event;
    this.#check = check;
  }

  get shared(): SharedWrite | undefined {
    return this.#check === undefined ? this : undefined;
  }

  bind(cached: MinipoolEnd | undefined): BoundWrite {
    const { generation, slot } = this.#event;
    const isNext = cached !== undefined && cached.generation === generation &&
      cached.next === slot;
    return {
      bound: this.#bind(isNext ? appendEvent : insertEvent),
      end: {
        generation,
        next: slot + 1,
        isContiguous: isNext && cached.isContiguous,
      },
      isUnchecked: isNext,
    };
  }

  explain(later: number): Promise<void> {
    return explain(this.#store, this.#call, this.#event, later);
  }

  runAlone(isInDoubt: boolean): Promise<void> {
    return runAlone(this.#store, this.#call, {
      bound: async () => {
        await this.#check?.();
        return [this.#bind(insertEvent)] as const;
      },
      settle: async (results) => {
        if (results === undefined || countOf(results[0]) === 1) return;
        await explain(this.#store, this.#call, this.#event, 0);
      },
      wasDone: async (look) =>
        (await lookAt(this.#store, look, this.#event)).isStored,
    }, isInDoubt);
  }

  #bind(template: typeof insertEvent): Bound<[]> {
    const { generation, slot, envelope } = this.#event;
    const { streamId } = this;
    const statement = this.#store.catalog.of(streamId, template);
    return bind(statement, streamId, generation, BigInt(slot), envelope);
  }
}

/** Throws the reason; `later` events of the same transaction were added. */
async function explain(
  store: Store,
  call: StreamCall,
  event: EventWrite,
  later: number,
): Promise<never> {
  const { streamId } = call;
  const { generation, slot } = event;
  const { location, oldest, newest } = await lookAt(store, call, event);
  if (location === null) throw streamNotFound(streamId);
  // The block that would take the event can't be added there.
  if (location !== "D") throw storedExternally(streamId);
  checkMinipoolHead(
    streamId,
    oldest && newest && {
      oldest,
      // The newest slot before the later events were added.
      newest: { ...newest, slot: newest.slot - later },
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

/** Where the blocks are, the minipool's ends, whether the event is stored. */
async function lookAt(
  store: Store,
  call: StreamCall,
  { generation, slot, envelope }: EventWrite,
) {
  const { streamId } = call;
  const [{ rows: [row] }] = await store.transactions.read(contextOf(call), [
    bind(
      store.catalog.of(streamId, selectMinipoolEnds),
      streamId,
      generation,
      BigInt(slot),
      envelope,
    ),
  ]);
  const [location, lowest, first, highest, last, isSame] = row!;
  return {
    location,
    oldest: placeOf(lowest, first),
    newest: placeOf(highest, last),
    isStored: isSame === true,
  };
}

function placeOf(generation: bigint | null, slot: bigint | null) {
  return generation === null ? undefined : { generation, slot: Number(slot) };
}
