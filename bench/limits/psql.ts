/**
 * Measures how fast the server can take and give blocks at all: psql copies the
 * same rows in binary, many times in one session, and times each COPY itself.
 */

import { Buffer } from "node:buffer";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { newStreamIds, randomBytes, times } from "../data.ts";
import { median, quantile } from "../measure.ts";
import type { Setup } from "../setup.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { Measurement, ToolVariant } from "../workload.ts";
import { runClient, type Tools } from "./tools.ts";

/** The names of these variants in the table. */
export const rawCopyIn = "COPY IN (psql)";
export const rawCopyOut = "COPY OUT (psql)";

/** How much one COPY transfers. */
export interface CopyShape {
  blocks: number;
  blockBytes: number;
}

/**
 * The COPYs of one measurement. The first few fill caches and are not counted.
 */
const repeats = 60;
const warmUps = 5;

const columns = "(stream_id, seq_num, blockdata, snapshot)";

/** Copies blocks of new streams into their tables, one COPY for each stream. */
export function copyIn(
  setup: Setup,
  { psql }: Tools,
  scratch: string,
  shape: CopyShape,
): ToolVariant {
  return {
    name: rawCopyIn,
    async measure() {
      if (psql === undefined) return undefined;
      const data = randomBytes(shape.blockBytes);
      const lines = await Promise.all(
        newStreamIds(repeats).map(async (id, i) => {
          const file = join(scratch, `blocks_${i}.bin`);
          await writeFile(file, copyFile(id, shape.blocks, data));
          const { miniblocks } = setup.catalog.tablesOf(id);
          return `\\copy ${miniblocks} ${columns} from '${file}' (format binary)`;
        }),
      );
      return await timed(psql, setup, scratch, lines);
    },
  };
}

/** Copies blocks of stored streams out of their tables, to `/dev/null`. */
export function copyOut(
  setup: Setup,
  { psql }: Tools,
  scratch: string,
  streamIds: readonly StreamId[],
): ToolVariant {
  return {
    name: rawCopyOut,
    async measure() {
      if (psql === undefined) return undefined;
      const lines = times(repeats, (i) => {
        const id = streamIds[i % streamIds.length]!;
        const { miniblocks } = setup.catalog.tablesOf(id);
        return `COPY (SELECT seq_num, blockdata, snapshot FROM ${miniblocks}
 WHERE stream_id = '${id}' ORDER BY seq_num)
 TO STDOUT (FORMAT binary) \\g /dev/null`;
      });
      return await timed(psql, setup, scratch, lines);
    },
  };
}

async function timed(
  psql: string,
  setup: Setup,
  scratch: string,
  commands: readonly string[],
): Promise<Measurement> {
  const script = join(scratch, "copies.sql");
  await writeFile(script, ["\\timing on", ...commands, ""].join("\n"));
  const printed = await runClient(psql, [
    "--no-psqlrc",
    "--set=ON_ERROR_STOP=1",
    `--file=${script}`,
  ], setup.url);
  const times = Array.from(
    printed.matchAll(/^Time: ([\d.]+) ms/gm),
    ([, ms]) => Number(ms),
  ).slice(warmUps);
  if (times.length !== commands.length - warmUps) {
    throw new Error(`psql printed: ${printed}`);
  }
  times.sort((a, b) => a - b);
  const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length;
  return {
    operationsPerSecond: 1000 / mean,
    p50Ms: median(times),
    p99Ms: quantile(times, 0.99),
  };
}

/**
 * Makes a file for `COPY … FROM … (FORMAT binary)`: header, tuples, trailer.
 */
function copyFile(id: string, rows: number, data: Uint8Array): Buffer {
  const header = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
  const tuples = times(rows, (number) => {
    const head = Buffer.alloc(2 + 4 + id.length + 4 + 8 + 4);
    let at = head.writeInt16BE(4);
    at = head.writeInt32BE(id.length, at);
    at += head.write(id, at);
    at = head.writeInt32BE(8, at);
    at = head.writeBigInt64BE(BigInt(number), at);
    head.writeInt32BE(data.length, at);
    return Buffer.concat([head, data, nullField]);
  });
  return Buffer.concat([header, ...tuples, trailer]);
}

const nullField = Buffer.from([0xff, 0xff, 0xff, 0xff]);
const trailer = Buffer.from([0xff, 0xff]);
