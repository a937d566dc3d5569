/**
 * Measures how fast the server stores the same rows when nothing is checked.
 * The client is pgbench, which uses libpq. Each script is one transaction in
 * one pipeline; its statements are prepared, and every execution sends the
 * values.
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { StreamTables } from "../../src/postgres/catalog.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamIds, times } from "../data.ts";
import { insertStreams } from "../insert_streams.ts";
import type { Setup } from "../setup.ts";
import type { ToolVariant } from "../workload.ts";
import { runClient, type Tools } from "./tools.ts";

/** What the scripts work on, and with which tools. */
export interface PgbenchSetup {
  setup: Setup;
  tools: Tools;
  /** A directory for the scripts. */
  scratch: string;
}

interface PgbenchWork {
  name: string;
  connections: number;
  /** How many operations one transaction contains. */
  perTransaction: number;
  /** Makes the statements of each script, at the first measurement. */
  scripts(): Promise<string[][]>;
}

/** The names of these variants in the table. */
export const pipelinedInserts = "pipelined INSERTs (pgbench)";
export const singleInserts = "one INSERT at a time (pgbench)";
export const parallelInserts = "an INSERT at a time each (pgbench)";
export const pipelinedSwaps = "one pipeline a swap (pgbench)";

const inserted = "(stream_id, generation, slot_num, envelope)";

/** Inserts events of many streams, 64 in a transaction, on two connections. */
export function manyInserts(
  place: PgbenchSetup,
  streams: number,
): ToolVariant {
  const perTransaction = 64;
  return variant(place, {
    name: pipelinedInserts,
    connections: 2,
    perTransaction,
    scripts() {
      const ids = newStreamIds(streams);
      const count = Math.ceil(streams / perTransaction);
      return Promise.resolve(times(count, (nth) => [
        "BEGIN",
        ...times(perTransaction, (i) => {
          const id = ids[(nth * perTransaction + i) % ids.length]!;
          return insertEvents(place.setup.catalog.tablesOf(id), id, [i]);
        }),
        "COMMIT",
      ]));
    },
  });
}

/** Inserts one event at a time on each connection, each into its own stream. */
export function oneInsertEach(
  place: PgbenchSetup,
  connections = 1,
): ToolVariant {
  return variant(place, {
    name: connections === 1 ? singleInserts : parallelInserts,
    connections,
    perTransaction: 1,
    scripts() {
      return Promise.resolve(
        newStreamIds(connections).map((id) => {
          const tables = place.setup.catalog.tablesOf(id);
          return [insertEvents(tables, id, [0])];
        }),
      );
    },
  });
}

/**
 * Locks a stream, replaces its minipool and adds a block, on one connection.
 */
export function oneSwapEach(
  place: PgbenchSetup,
  { streams, events }: { streams: number; events: number },
): ToolVariant {
  const { setup } = place;
  return variant(place, {
    name: pipelinedSwaps,
    connections: 1,
    perTransaction: 1,
    async scripts() {
      const ids = newStreamIds(streams);
      await insertStreams(setup, ids, { events });
      return ids.map((id) => {
        const tables = setup.catalog.tablesOf(id);
        return [
          "BEGIN",
          `SELECT 1 FROM ${tables.streams} WHERE stream_id = '${id}' FOR UPDATE`,
          `DELETE FROM ${tables.minipools} WHERE stream_id = '${id}'`,
          insertEvents(tables, id, times(events + 1, (i) => i)),
          `INSERT INTO ${tables.miniblocks} (stream_id, seq_num, blockdata)` +
          ` VALUES ('${id}', :number, :block)`,
          "COMMIT",
        ];
      });
    },
  });
}

function insertEvents(
  { minipools }: StreamTables,
  id: StreamId,
  slots: readonly number[],
): string {
  const rows = slots.map((slot) => `('${id}', :number, ${slot}, :envelope)`);
  return `INSERT INTO ${minipools} ${inserted} VALUES ${rows.join()}`;
}

function variant(
  { setup, tools: { pgbench }, scratch }: PgbenchSetup,
  { name, connections, perTransaction, scripts }: PgbenchWork,
): ToolVariant {
  let files: string[] | undefined;
  return {
    name,
    async measure(seconds) {
      if (pgbench === undefined) return undefined;
      files ??= await writeScripts(scratch, await scripts());
      const printed = await runClient(pgbench, [
        "--no-vacuum",
        "--protocol=prepared",
        `--client=${connections}`,
        `--jobs=${Math.min(connections, 2)}`,
        `--time=${Math.max(1, Math.round(seconds))}`,
        `--define=envelope=${"e".repeat(1024)}`,
        `--define=block=${"b".repeat(10 * 1024)}`,
        ...files.map((file) => `--file=${file}`),
      ], setup.url);
      const transactions = Number(/^tps = ([\d.]+)/m.exec(printed)?.[1]);
      if (!(transactions > 0)) throw new Error(`pgbench printed: ${printed}`);
      return { operationsPerSecond: transactions * perTransaction };
    },
  };
}

/**
 * Gives each transaction its own block number, so that no two write the same
 * key.
 */
async function writeScripts(
  scratch: string,
  scripts: readonly string[][],
): Promise<string[]> {
  const batch = crypto.randomUUID();
  return await Promise.all(scripts.map(async (statements, i) => {
    const path = join(scratch, `${batch}_${i}.sql`);
    const lines = [
      "\\set number random(2, 4611686018427387904)",
      "\\startpipeline",
      ...statements.map((statement) => `${statement};`),
      "\\endpipeline",
    ];
    await writeFile(path, `${lines.join("\n")}\n`);
    return path;
  }));
}
