/** Calls on streams with very many blocks. */

import { newStreamIds } from "../data.ts";
import type { StreamId } from "../../mod.ts";
import { Clock } from "./clock.ts";
import { longestPause } from "./pauses.ts";
import type { Measure, Place, PrepareRow } from "./place.ts";

/** Each round makes a stream, which is not timed. */
export const largeStreamRows: Record<string, PrepareRow> = {
  "delete-large": (place) =>
    Promise.resolve(() =>
      timed(
        place,
        place.sizes.deletedBlocks,
        51_200,
        (id) => place.storage.deleteStream(id),
      )
    ),
  "first-ranges": (place) =>
    Promise.resolve(() =>
      timed(
        place,
        place.sizes.rangeBlocks,
        64,
        (id) => place.storage.getMiniblockNumberRanges(id),
      )
    ),
};

async function timed(
  place: Place,
  blocks: number,
  bytes: number,
  call: (id: StreamId) => Promise<unknown>,
): ReturnType<Measure> {
  const [id] = newStreamIds(1);
  await insertBlocks(place, id!, blocks, bytes);
  const clock = new Clock();
  const pause = await longestPause(() => call(id!));
  return { ms: clock.ms, pauseMs: pause.ms };
}

/** A stream of such a size is not written by calls, but by the server itself. */
async function insertBlocks(
  { direct, catalog }: Place,
  id: StreamId,
  blocks: number,
  bytes: number,
): Promise<void> {
  const { streams, miniblocks, minipools } = catalog.tablesOf(id);
  await direct.query("BEGIN");
  await direct.query(
    `INSERT INTO ${streams} (stream_id, latest_snapshot_miniblock, migrated)
     VALUES ($1, 0, true)`,
    [id],
  );
  await direct.query(
    `INSERT INTO ${miniblocks} (stream_id, seq_num, blockdata, snapshot)
     SELECT $1, n, decode(repeat(md5(n::text), $3), 'hex'),
       CASE WHEN n = 0 THEN '\\x07'::bytea END
     FROM generate_series(0, $2::int - 1) AS n`,
    [id, blocks, bytes / 16],
  );
  await direct.query(
    `INSERT INTO ${minipools} (stream_id, generation, slot_num)
     VALUES ($1, $2, -1)`,
    [id, blocks],
  );
  await direct.query("COMMIT");
}
