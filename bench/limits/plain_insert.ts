/**
 * The plainest way to store an event: one prepared INSERT through `pg`, on
 * eight connections, with nothing checked.
 */

import { Buffer } from "node:buffer";
import pg from "pg";
import { newStreamIds, randomBytes, times } from "../data.ts";
import { countRows } from "../insert_streams.ts";
import type { Setup } from "../setup.ts";
import type { BatchVariant } from "../workload.ts";
import { clientOptions } from "../client.ts";

/** The name of this variant in the table. */
export const plainInsertName = "plain INSERT (pg)";

/** The variant; disposing of it ends its pool. */
export interface PlainInsert extends BatchVariant, AsyncDisposable {}

/** Makes the variant. Each client writes to its own stream. */
export function plainInsert(
  setup: Setup,
  { clients, events }: { clients: number; events: number },
): PlainInsert {
  const pool = new pg.Pool({ ...clientOptions(setup.url), max: 8 });
  pool.on("error", () => {}); // the next query reports it
  const envelope = Buffer.from(randomBytes(1024).buffer);
  return {
    name: plainInsertName,
    nextBatch() {
      const streamIds = newStreamIds(clients);
      return Promise.resolve({
        clients: streamIds.map((id) => {
          const { minipools, suffix } = setup.catalog.tablesOf(id);
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
          const counted = await countRows(setup, streamIds);
          if (counted.events !== clients * events) {
            throw new Error(`Inserted ${counted.events} events`);
          }
        },
      });
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}
