/**
 * What somebody writes by hand: one prepared INSERT per event through `pg`,
 * eight connections, no check of anything.
 */

import { Buffer } from "node:buffer";
import pg from "pg";
import { newStreamIds, randomBytes, times } from "../data.ts";
import { countRows } from "../plant.ts";
import type { Site } from "../site.ts";
import type { BatchContender } from "../workload.ts";
import { clientOptions } from "../client.ts";

/** The name of this contender in the table. */
export const plainInsertName = "plain INSERT (pg)";

/** The contender and its pool. */
export interface PlainInsert extends BatchContender, AsyncDisposable {}

/** Makes the contender; each client writes to a stream of its own. */
export function plainInsert(
  site: Site,
  { clients, events }: { clients: number; events: number },
): PlainInsert {
  const pool = new pg.Pool({ ...clientOptions(site.url), max: 8 });
  pool.on("error", () => {}); // shows at the next use
  const envelope = Buffer.from(randomBytes(1024).buffer);
  return {
    name: plainInsertName,
    nextBatch() {
      const streamIds = newStreamIds(clients);
      return Promise.resolve({
        clients: streamIds.map((id) => {
          const { minipools, suffix } = site.catalog.tablesOf(id);
          const text = `INSERT INTO ${minipools}
            (stream_id, generation, slot_num, envelope)
            VALUES ($1, $2, $3, $4)`;
          return times(events, (slot) => async () => {
            await pool.query({
              name: suffix,
              text,
              values: [id, 1, slot, envelope],
            });
          });
        }),
        async check() {
          const counted = await countRows(site, streamIds);
          if (counted.events !== clients * events) {
            throw new Error(`Inserted ${counted.events} events`);
          }
        },
      });
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}
