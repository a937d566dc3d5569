/**
 * How many events a second the server takes at all: the same rows into the same
 * tables, 64 INSERTs in a transaction sent as one pipeline by pgbench, on two
 * connections, statements prepared, and nothing looked at.
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { newStreamIds, times } from "../data.ts";
import type { Site } from "../site.ts";
import type { ToolContender } from "../workload.ts";
import { runClient, type Tools } from "./tools.ts";

const perTransaction = 64;
const connections = 2;

/** The name of this contender in the table. */
export const pipelinedInserts = "pipelined INSERTs (pgbench)";

/** Makes the contender; each row is an event of 1 KB for one of the streams. */
export function pgbenchInserts(
  site: Site,
  { pgbench }: Tools,
  scratch: string,
  streams: number,
): ToolContender {
  let scripts: string[] | undefined;
  return {
    name: pipelinedInserts,
    async measure(seconds) {
      if (pgbench === undefined) return undefined;
      scripts ??= await writeScripts(site, scratch, streams);
      const printed = await runClient(pgbench, [
        "--no-vacuum",
        "--protocol=prepared",
        `--client=${connections}`,
        `--jobs=${connections}`,
        `--time=${Math.max(1, Math.round(seconds))}`,
        `--define=envelope=${"e".repeat(1024)}`,
        ...scripts.map((script) => `--file=${script}`),
      ], site.url);
      const transactions = Number(/^tps = ([\d.]+)/m.exec(printed)?.[1]);
      if (!(transactions > 0)) throw new Error(`pgbench printed: ${printed}`);
      return { operationsPerSecond: transactions * perTransaction };
    },
  };
}

/** Each script is one transaction; together they go round all streams. */
async function writeScripts(
  site: Site,
  scratch: string,
  streams: number,
): Promise<string[]> {
  const ids = newStreamIds(streams);
  const count = Math.ceil(streams / perTransaction);
  return await Promise.all(times(count, async (nth) => {
    const inserts = times(perTransaction, (i) => {
      const id = ids[(nth * perTransaction + i) % ids.length]!;
      return `INSERT INTO ${site.catalog.tablesOf(id).minipools}
 (stream_id, generation, slot_num, envelope)
 VALUES ('${id}', :generation, ${i}, :envelope);`.replaceAll("\n", "");
    });
    const path = join(scratch, `inserts_${nth}.sql`);
    await writeFile(
      path,
      [
        // No two transactions make the same key.
        "\\set generation random(1, 4611686018427387904)",
        "\\startpipeline",
        "BEGIN;",
        ...inserts,
        "COMMIT;",
        "\\endpipeline",
        "",
      ].join("\n"),
    );
    return path;
  }));
}
