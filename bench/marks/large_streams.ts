/** Calls on streams with very many blocks. */

import { setTimeout as delay } from "node:timers/promises";
import { newStreamIds } from "../data.ts";
import type { StreamId } from "../../mod.ts";
import { Clock } from "./clock.ts";
import { longestPause } from "./pauses.ts";
import type { Figures, Place, PrepareRow } from "./place.ts";

/** Only the calls are timed. */
export const largeStreamRows: Record<string, PrepareRow> = {
  "first-ranges": async (place) => {
    const id = await insertStream(place, place.sizes.rangeBlocks, 64);
    return async () => {
      // A store remembers what it has found in the blocks.
      await place.reopen();
      const call = () => place.storage.getMiniblockNumberRanges(id);
      return await timed(() => untilAnswered(call));
    };
  },
  "delete-large": (place) =>
    Promise.resolve(async () => {
      const id = await insertStream(place, place.sizes.deletedBlocks, 51_200);
      const figures = await timed(() => place.storage.deleteStream(id));
      await untilRemoved(place, id);
      return figures;
    }),
};

async function timed(call: () => Promise<unknown>): Promise<Figures> {
  const clock = new Clock();
  const pause = await longestPause(call);
  return { ms: clock.ms, pauseMs: pause.ms };
}

/** A call that runs out of time is taken up by the next one. */
async function untilAnswered(call: () => Promise<unknown>): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      await call();
      return;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== "DEADLINE_EXCEEDED" || tries === 20) throw error;
    }
  }
}

/**
 * A stream of such a size is not written by calls, but by the server itself. A
 * block of 64 bytes is a protobuf message with one field: one that is not would
 * make the search for snapshots throw, and blocks are messages.
 */
async function insertStream(
  { direct, catalog }: Place,
  blocks: number,
  bytes: number,
): Promise<StreamId> {
  const id = newStreamIds(1)[0]!;
  const { streams, miniblocks, minipools } = catalog.tablesOf(id);
  await direct.query("BEGIN");
  await direct.query(
    `INSERT INTO ${streams} (stream_id, latest_snapshot_miniblock, migrated)
     VALUES ($1, 0, true)`,
    [id],
  );
  await direct.query(
    `INSERT INTO ${miniblocks} (stream_id, seq_num, blockdata, snapshot)
     SELECT $1, n, '\\x0a3e' || substr(decode(repeat(md5(n::text), $3), 'hex'), 3),
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
  return id;
}

/** How long the store may take to remove what a deleted stream has left. */
const removalMs = 300_000;

/** Returns when no row of the stream is left, and its space can be used again. */
async function untilRemoved(
  { direct, catalog }: Place,
  id: StreamId,
): Promise<void> {
  const { miniblocks, deletions } = catalog.tablesOf(id);
  const until = performance.now() + removalMs;
  const isBeingRemoved = `SELECT 1 FROM ${deletions} WHERE stream_id = $1`;
  while ((await direct.query(isBeingRemoved, [id])).rows.length > 0) {
    if (performance.now() > until) {
      throw new Error(`Expected the stream's rows gone in ${removalMs} ms`);
    }
    await delay(100);
  }
  await direct.query(`VACUUM ${miniblocks}`);
}
