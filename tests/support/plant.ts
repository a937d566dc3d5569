import { bind, statement } from "../../src/database/statement.ts";
import { Catalog, type StreamTables } from "../../src/postgres/catalog.ts";
import { bytesToHex, type StreamId } from "../../src/storage/stream_id.ts";
import type { PlantedStream } from "../../src/testing/contract/suite.ts";
import { openSession } from "./migration_connection.ts";

/** The tables that get the rows. */
export interface Ground {
  url: string;
  schema: string;
  partitions: number;
}

/** Inserts raw rows into the tables, without the store and its rules. */
export async function plant(
  { url, schema, partitions }: Ground,
  streamId: StreamId,
  rows: PlantedStream,
): Promise<void> {
  const t = new Catalog(schema, partitions).tablesOf(streamId);
  const { insertStream, insertBlock, insertEvent, insertCandidate } =
    statementsOf(t);
  await using session = await openSession(url);
  await session.run([
    ...(rows.orphaned ? [] : [
      bind(
        insertStream,
        streamId,
        rows.latestSnapshot,
        rows.ephemeral ?? false,
      ),
    ]),
    ...rows.blocks.map(({ number, data, snapshot }) =>
      bind(insertBlock, streamId, number, data, snapshot ?? null)
    ),
    ...rows.minipool.map(({ generation, slot, envelope }) =>
      bind(insertEvent, streamId, generation, BigInt(slot), envelope ?? null)
    ),
    ...(rows.candidates ?? []).map(({ number, data, snapshot, hash }) =>
      bind(
        insertCandidate,
        streamId,
        number,
        bytesToHex(hash),
        data,
        snapshot ?? null,
      )
    ),
  ]);
}

function statementsOf(t: StreamTables) {
  const insertStream = statement({
    text: `INSERT INTO ${t.streams} (stream_id, latest_snapshot_miniblock,
      migrated, ephemeral) VALUES ($1, $2, true, $3)`,
    params: ["bpchar", "int8", "bool"],
  });
  const insertBlock = statement({
    text: `INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
      VALUES ($1, $2, $3, $4)`,
    params: ["bpchar", "int8", "bytea", "bytea?"],
  });
  const insertEvent = statement({
    text: `INSERT INTO ${t.minipools}
      (stream_id, generation, slot_num, envelope) VALUES ($1, $2, $3, $4)`,
    params: ["bpchar", "int8", "int8", "bytea?"],
  });
  const insertCandidate = statement({
    text: `INSERT INTO ${t.candidates}
      (stream_id, seq_num, block_hash, blockdata, snapshot)
      VALUES ($1, $2, $3, $4, $5)`,
    params: ["bpchar", "int8", "bpchar", "bytea", "bytea?"],
  });
  return { insertStream, insertBlock, insertEvent, insertCandidate };
}
