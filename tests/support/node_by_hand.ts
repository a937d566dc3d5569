import { Catalog } from "../../src/postgres/catalog.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { PlantedStream } from "../../src/testing/contract/suite.ts";
import { openSession } from "./migration_connection.ts";
import { type Ground, plant } from "./plant.ts";

/**
 * Deletes a stream as a node does: from the node's tables, but not from our own.
 */
export async function nodeDeletes(
  { url, schema, partitions }: Ground,
  streamId: StreamId,
): Promise<void> {
  const t = new Catalog(schema, partitions).tablesOf(streamId);
  const tables = [t.streams, t.miniblocks, t.minipools, t.candidates];
  if (t.suffix.startsWith("m")) tables.push(t.external);
  await using session = await openSession(url);
  await session.script(
    tables.map((table) =>
      `DELETE FROM ${table} WHERE stream_id = '${streamId}';`
    ).join("\n"),
  );
}

/** Deletes a stream and creates another under its id, as a node does. */
export async function nodeRemakes(
  ground: Ground,
  streamId: StreamId,
  rows: PlantedStream,
): Promise<void> {
  await nodeDeletes(ground, streamId);
  await plant(ground, streamId, rows);
}

/**
 * Moves the blocks of a stream out of the database as a node does. Returns the
 * bytes of the object, which the caller must store.
 */
export async function nodeOffloads(
  { url, schema, partitions }: Ground,
  streamId: StreamId,
  blocks: readonly { number: bigint; data: Uint8Array }[],
): Promise<Uint8Array> {
  const t = new Catalog(schema, partitions).tablesOf(streamId);
  let start = 0;
  const places = blocks.map(({ number, data }) => {
    const place = `('${streamId}', ${number}, ${start}, ${data.length})`;
    start += data.length;
    return place;
  });
  await using session = await openSession(url);
  await session.script(
    `INSERT INTO ${t.external} (stream_id, seq_num, start_byte, size)
      VALUES ${places.join(", ")};
    DELETE FROM ${t.miniblocks} WHERE stream_id = '${streamId}';
    UPDATE ${t.streams} SET blockdata_ext = 'S'
      WHERE stream_id = '${streamId}'`,
  );
  return new Uint8Array(
    await new Blob(blocks.map(({ data }) => data.slice()))
      .arrayBuffer(),
  );
}
