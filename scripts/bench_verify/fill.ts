/** Lets the server fill a schema with streams of equal blocks. */

import type { Session } from "../../src/database/session.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import {
  parseStreamId,
  partitionSuffix,
  type StreamId,
} from "../../src/storage/stream_id.ts";
import { chain } from "../../tests/support/protocol_blocks.ts";
import type { Options } from "./arguments.ts";

/**
 * Makes ids that spread over the partitions. One in five is a media stream's.
 */
function newIds(count: number): StreamId[] {
  return Array.from({ length: count }, (_, i) => {
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    bytes[0] = i % 5 === 0 ? 0xff : 0x20;
    return parseStreamId(bytes);
  });
}

/** Writes the streams. Resolves with the bytes of the payload. */
export async function fill(
  session: Session,
  schema: string,
  { streams, blocks, partitions, eventBytes }: Options,
): Promise<number> {
  const perStream = Math.round(blocks / streams);
  const made = chain({ count: perStream, snapshots: [0], eventBytes });
  await session.script(
    "CREATE TEMP TABLE made (number bigint, data bytea, snapshot bytea)",
  );
  const insert = statement({
    text: "INSERT INTO made VALUES ($1, $2, $3)",
    params: ["int8", "bytea", "bytea?"],
  });
  for (const { number, data, snapshot } of made) {
    await session.run([bind(insert, number, data, snapshot ?? null)]);
  }
  const catalog = new Catalog(schema, partitions);
  const ids = Map.groupBy(
    newIds(streams),
    (id) => partitionSuffix(id, partitions),
  );
  for (const [suffix, some] of ids) {
    const t = catalog.tablesAt(suffix);
    const list = some.map((id) => `('${id}')`).join(", ");
    await session.script(
      `INSERT INTO ${t.streams} (stream_id, latest_snapshot_miniblock, migrated)
        SELECT id, 0, true FROM (VALUES ${list}) AS given (id);
      INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
        SELECT id, number, data, snapshot
        FROM made, (VALUES ${list}) AS given (id) ORDER BY number;
      INSERT INTO ${t.minipools} (stream_id, generation, slot_num, envelope)
        SELECT id, ${perStream}, slot, CASE WHEN slot >= 0 THEN '\\x01'::bytea END
        FROM generate_series(-1, 1) AS slot, (VALUES ${list}) AS given (id)`,
    );
  }
  await session.script("VACUUM ANALYZE");
  const bytes = made.reduce(
    (sum, { data, snapshot }) => sum + data.length + (snapshot?.length ?? 0),
    0,
  );
  return bytes * streams;
}
