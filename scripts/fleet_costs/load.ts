/** What events cost a server: processor time, log and disk. */
import {
  parseStreamId,
  type PostgresStreamStorage,
  type StreamId,
} from "../../mod.ts";
import type { Node } from "./nodes.ts";
import { processorSeconds } from "./processor.ts";

/** How a node writes: events one by one, then a block of them. */
export interface Load {
  streams: number;
  rounds: number;
  /** Of a block. */
  events: number;
  eventBytes: number;
  /** Callers at a time. */
  callers: number;
}

/** What was measured, for each event. */
export interface EventCost {
  eventBytes: number;
  events: number;
  perSecond: number;
  processorMicros: number;
  /** Of the write-ahead log. */
  logBytes: number;
  /** Of the tables of blocks and their indexes, vacuumed. */
  diskBytes: number;
  /** Of all others, for each stream; the pages of old minipools are in it. */
  streamBytes: number;
}

let counter = 0;
const newId = (): StreamId =>
  parseStreamId(`20${String(++counter).padStart(12, "0").padEnd(62, "a")}`);

/** Bytes that no server can make smaller. */
function payload(bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) {
    crypto.getRandomValues(data.subarray(at, at + 65_536));
  }
  return data;
}

/** Writes as a node does, and measures what the server had to do. */
export async function measureEvents(
  storage: PostgresStreamStorage,
  node: Node,
  load: Load,
): Promise<EventCost> {
  const ids = Array.from({ length: load.streams }, newId);
  const empty = await look(node, storage.schema);
  const genesis = { number: 0n, data: payload(200), snapshot: payload(200) };
  await inTurn(
    ids,
    load.callers,
    (id) => storage.createStreamStorage(id, genesis),
  );
  // What creations have left in the log is not the events'.
  await node.rows("CHECKPOINT");
  const before = await look(node, storage.schema);
  const started = performance.now();
  for (let round = 1; round <= load.rounds; round++) {
    await inTurn(
      ids,
      load.callers,
      (id) => writeBlock(storage, id, BigInt(round), load),
    );
  }
  const seconds = (performance.now() - started) / 1000;
  const { processor, log } = await look(node, storage.schema);
  await vacuum(node, storage.schema);
  const { blocks, others } = await look(node, storage.schema);
  const events = load.streams * load.rounds * load.events;
  return {
    eventBytes: load.eventBytes,
    events,
    perSecond: events / seconds,
    processorMicros: (processor - before.processor) / events * 1e6,
    logBytes: (log - before.log) / events,
    diskBytes: (blocks - before.blocks) / events,
    streamBytes: (others - empty.others) / load.streams,
  };
}

async function writeBlock(
  storage: PostgresStreamStorage,
  id: StreamId,
  number: bigint,
  { events, eventBytes }: Load,
): Promise<void> {
  for (let slot = 0; slot < events; slot++) {
    await storage.writeEvent(id, number, slot, payload(eventBytes));
  }
  await storage.writeMiniblocks(
    id,
    [{ number, data: payload(events * eventBytes) }],
    { generation: number + 1n, envelopes: [] },
    { generation: number },
  );
}

async function look(node: Node, schema: string) {
  const processor = await processorSeconds(node);
  const { log } = await node.row<{ log: number }>(
    "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 AS log",
  );
  const disk = await node.row<{ blocks: number; others: number }>(
    `SELECT sum(size) FILTER (WHERE is_block)::float8 AS blocks,
        sum(size) FILTER (WHERE NOT is_block)::float8 AS others
      FROM (SELECT pg_total_relation_size(oid) AS size,
          relname ~ '^miniblocks_' AS is_block FROM pg_class
        WHERE relkind = 'r' AND relnamespace = (SELECT oid FROM pg_namespace
          WHERE nspname = $1)) AS its`,
    [schema],
  );
  return { processor, log, ...disk };
}

async function vacuum(node: Node, schema: string): Promise<void> {
  const tables = await node.rows<{ name: string }>(
    `SELECT format('%I.%I', schemaname, relname) AS name
      FROM pg_stat_all_tables WHERE schemaname = $1`,
    [schema],
  );
  for (const { name } of tables) await node.rows(`VACUUM ${name}`);
}

async function inTurn<T>(
  items: readonly T[],
  callers: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const left = items.toReversed();
  await Promise.all(Array.from({ length: callers }, async () => {
    for (let item; (item = left.pop()) !== undefined;) await work(item);
  }));
}
