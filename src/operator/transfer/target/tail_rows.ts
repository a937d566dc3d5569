import { bind, type Bound } from "../../../database/statement.ts";
import type { Catalog } from "../../../postgres/catalog.ts";
import { insertCandidate } from "../../../postgres/sql/candidates.ts";
import {
  copyMinipool,
  newMinipoolRows,
} from "../../../postgres/sql/minipools.ts";
import type { StreamId } from "../../../storage/stream_id.ts";
import type { StreamTail } from "../format/model.ts";

/** Returns the statements that write a stream's minipool and candidates. */
export async function tailRows(
  catalog: Catalog,
  streamId: StreamId,
  { minipool, candidates }: StreamTail,
): Promise<Bound[]> {
  const rows: Bound[] = candidates.map(({ number, hash, data, snapshot }) =>
    bind(
      catalog.of(streamId, insertCandidate),
      ...[streamId, number, hash, data] as const,
      snapshot?.length ? snapshot : null,
    )
  );
  if (minipool === undefined) return rows;
  const copy = catalog.of(streamId, copyMinipool);
  const { generation, envelopes } = minipool;
  return [
    ...rows,
    await newMinipoolRows(copy, streamId, generation, envelopes),
  ];
}
