/** Reports what takes a store's disk space, and what would free it. */

import { sqlStateOf } from "../../database/failures.ts";
import { bind } from "../../database/statement.ts";
import type { ReadCore } from "../../postgres/read_core.ts";
import { invalidArgument } from "../../storage/contract_errors.ts";
import { reading } from "../reading.ts";
import {
  selectEstimatedFamilies,
  selectExactFamilies,
  setLockTimeout,
} from "../status/status_sql.ts";
import {
  countStreams,
  readSizes,
  type WalkContext,
  walkRows,
} from "../streams/walk.ts";
import { Throttle } from "../verify/throttle.ts";
import { payloadOf, Tally, totalOf } from "./tally.ts";
import type { DiskUsage, StoreUsage, StoreUsageOptions } from "./types.ts";

const operation = "storeUsage";

/**
 * Reports what takes the space of a store: payload by type of stream, the
 * largest streams and why they are large, and the tables' space on disk.
 *
 * ```ts
 * import { storeUsage } from "@towns/stream-storage/operator";
 *
 * const { payloadBytes, largest } = await storeUsage({ url, schema });
 * console.log(payloadBytes, largest[0]?.reason);
 * ```
 *
 * @throws {StreamStorageError} as `openStreamReader`; INVALID_ARGUMENT.
 */
export async function storeUsage(
  { sample = 100, top = 10, rate, onStreams, onProgress, ...options }:
    StoreUsageOptions,
): Promise<StoreUsage> {
  if (!(sample > 0 && sample <= 100)) {
    throw invalidArgument({
      argument: "sample",
      reason: "out_of_range",
      rule: "must be above 0, 100 at most",
      received: sample,
    }).withOperation(operation);
  }
  return await reading(operation, options, async (core) => {
    const context: WalkContext = {
      core,
      name: operation,
      signal: options.signal,
      throttle: new Throttle(rate),
    };
    const total = Number(await countStreams(context));
    const tally = new Tally(top);
    let passed = 0;
    for await (const rows of walkRows(context, { after: "", prefix: "" })) {
      const chosen = rows.filter(() => Math.random() * 100 < sample);
      const ids = chosen.map(({ streamId }) => streamId);
      const streams = await readSizes(context, ids);
      tally.add(streams);
      await onStreams?.(streams);
      passed += rows.length;
      onProgress?.({ done: passed, total: Math.max(total, passed) });
    }
    return await report(core, tally, sample < 100 ? passed : undefined);
  });
}

async function report(
  core: ReadCore,
  tally: Tally,
  all: number | undefined,
): Promise<StoreUsage> {
  const factor = all === undefined || tally.seen === 0 ? 1 : all / tally.seen;
  const types = tally.types(factor);
  const total = totalOf(types);
  const payloadBytes = payloadOf(total);
  return {
    schema: core.schema,
    types,
    total,
    payloadBytes,
    largest: tally.largest,
    disk: await diskOf(core, total, payloadBytes),
    ...(all !== undefined && { sample: tally.errorOf(all) }),
  };
}

/**
 * The overhead of a row: its header and pointer, the id, numbers. Together with
 * `perPayload` the estimate is within a few percent of freshly written tables.
 */
const bytesPerRow = 120;
/**
 * The overhead of values that are stored in pieces of 2 kB, and of pages that
 * are not quite full.
 */
const perPayload = 1.04;

/** Enough time for the sizes of thousands of files on a slow disk. */
const sizesWithinMs = 60_000;

async function diskOf(
  core: ReadCore,
  total: StoreUsage["total"],
  payloadBytes: number,
): Promise<DiskUsage> {
  const { pool, schema } = core;
  // Not in a transaction that is retried until its deadline: a lock may last.
  const ask = async (select: typeof selectExactFamilies) => {
    const deadline = performance.now() + sizesWithinMs;
    const bound = [bind(setLockTimeout), bind(select, schema)] as const;
    const [, { rows }] = await pool.run(bound, "read", undefined, deadline);
    return rows;
  };
  let isEstimated = false;
  const rows = await ask(selectExactFamilies).catch((error) => {
    if (sqlStateOf(error) !== "55P03") throw error;
    isEstimated = true;
    return ask(selectEstimatedFamilies);
  });
  const sum = (column: 2 | 3 | 5) =>
    Number(rows.reduce((sum, row) => sum + row[column], 0n));
  const tableBytes = sum(2);
  const live = total.blocks + total.events + total.candidates + total.streams;
  const needed = payloadBytes * perPayload + live * bytesPerRow;
  return {
    tableBytes,
    indexBytes: sum(3),
    deadRows: sum(5),
    freeBytes: Math.max(0, Math.round(tableBytes - needed)),
    isEstimated,
  };
}
