/** The measured calls: those that a node makes most. */

import { quoteIdentifier } from "../../database/migrations/mod.ts";
import type { Session } from "../../database/session.ts";
import { bind, statement } from "../../database/statement.ts";
import { parseStreamId, type StreamId } from "../../storage/stream_id.ts";
import type { StreamStorage } from "../../storage/stream_storage.ts";
import type { BenchWork } from "./latencies.ts";

/** Typical sizes of an event and of a block of a conversation. */
const [eventBytes, blockBytes] = [1024, 4096];

/** How many callers measure a call under load. */
const manyCallers = 32;

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length));
}

function newStreamId(): StreamId {
  const bytes = randomBytes(32);
  bytes[0] = 0x10;
  bytes.fill(0, 21);
  return parseStreamId(bytes);
}

/** A round trip that does nothing, and a commit of one row. */
export function serverWork(session: Session, schema: string): BenchWork[] {
  const nothing = statement({ text: "SELECT" });
  const insert = statement({
    text: `INSERT INTO ${tableOf(schema)} VALUES ($1)`,
    params: ["int8"],
  });
  return [
    {
      operation: "round trip",
      callers: 1,
      call: () => session.run([bind(nothing)]),
    },
    {
      operation: "commit of one row",
      callers: 1,
      call: (_, nth) => session.run([bind(insert, BigInt(nth))]),
    },
  ];
}

/** Makes the table that {@linkcode serverWork} inserts into. */
export async function prepareServerWork(
  session: Session,
  schema: string,
): Promise<void> {
  await session.script(`CREATE TABLE ${tableOf(schema)} (n pg_catalog.int8)`);
}

function tableOf(schema: string): string {
  return `${quoteIdentifier(schema)}.commits`;
}

/** The store's calls, by one caller and by many. */
export function storeWork(storage: StreamStorage): BenchWork[] {
  return [1, manyCallers].flatMap((callers) => workOf(storage, callers));
}

function workOf(storage: StreamStorage, callers: number): BenchWork[] {
  const envelope = randomBytes(eventBytes);
  const data = randomBytes(blockBytes);
  const streams = Array.from({ length: callers }, newStreamId);
  const stream = (caller: number) => streams[caller]!;
  const genesis = { number: 0n, data };
  return [
    {
      operation: "createStreamStorage",
      callers,
      // The later measurements work on the first stream of each caller.
      call: (caller, nth) =>
        storage.createStreamStorage(
          nth === 0 ? stream(caller) : newStreamId(),
          genesis,
        ),
    },
    {
      operation: "writeEvent",
      callers,
      call: (caller, nth) =>
        storage.writeEvent(stream(caller), 1n, nth, envelope),
    },
    {
      operation: "writeMiniblocks",
      callers,
      // Every tenth block has a snapshot, so that a read returns several
      // blocks.
      call: (caller, nth) => {
        const number = BigInt(nth + 1);
        return storage.writeMiniblocks(
          stream(caller),
          [{ number, data, ...(nth % 10 === 0 ? { snapshot: data } : {}) }],
          { generation: number + 1n, envelopes: [] },
          { generation: number },
        );
      },
    },
    {
      operation: "readStreamFromLastSnapshot",
      callers,
      call: (caller) => storage.readStreamFromLastSnapshot(stream(caller), 0),
    },
  ];
}
