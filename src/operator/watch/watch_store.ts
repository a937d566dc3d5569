/** Samples a store repeatedly: its owner and its activity. */

import { setTimeout as delay } from "node:timers/promises";
import { holdersOf } from "../../database/lock_holder.ts";
import { ownerRows } from "../../database/ownership/lock_session.ts";
import { ownerFacts } from "../../database/ownership/rows.ts";
import { ownershipSql } from "../../database/ownership/sql.ts";
import { operationError, sqlStateOf } from "../../database/failures.ts";
import { bind, type Bound, type ResultsOf } from "../../database/statement.ts";
import { openReadCore } from "../../postgres/open_reader.ts";
import type { ReadCore } from "../../postgres/read_core.ts";
import { invalidArgument } from "../../storage/contract_errors.ts";
import { messageOf } from "../../storage/foreign_text.ts";
import { schemaLockId, type StreamId } from "../../storage/stream_id.ts";
import { readMetrics } from "./metrics.ts";
import {
  activityOf,
  type Counts,
  hotPartitions,
  ratesOf,
  storeOf,
} from "./rates.ts";
import type {
  HotStream,
  WatchGap,
  WatchOptions,
  WatchSample,
} from "./types.ts";
import {
  selectActivity,
  selectDatabase,
  selectMinipools,
  selectPartitions,
} from "./watch_sql.ts";

const operation = "watchStore";

/** The most partitions and streams that are shown. */
const [maxPartitions, maxStreams] = [8, 5];

/**
 * Yields a sample of a store every `intervalMs`, until the signal aborts or the
 * caller stops. If the server goes away, the next look tries to reach it again.
 * If the first look fails, its error is thrown.
 *
 * ```ts
 * import { watchStore } from "@towns/stream-storage/operator";
 *
 * for await (const look of watchStore({ url, schema, intervalMs: 100 })) {
 *   if ("lost" in look || look.rates === null) continue;
 *   console.log(look.owner?.name, look.rates.commits);
 *   break;
 * }
 * ```
 *
 * @throws {StreamStorageError} as `openStreamReader`; CANCELED; INVALID_ARGUMENT.
 */
export async function* watchStore(
  { intervalMs = 2000, metrics, ...options }: WatchOptions,
): AsyncGenerator<WatchSample | WatchGap, void> {
  check(intervalMs, metrics);
  const { signal } = options;
  try {
    await using core = await openReadCore({
      targetSessionAttrs: "any",
      applicationName: "stream-watch",
      ...options,
      maxConnections: 1,
    });
    const watch = new Watch(core, { metrics, signal });
    let isFirst = true;
    for (;;) {
      const begun = performance.now();
      try {
        yield await watch.look();
        isFirst = false;
      } catch (error) {
        if (signal?.aborted || isFirst) throw error;
        yield { at: now(), lost: messageOf(error) };
      }
      const left = intervalMs - (performance.now() - begun);
      await delay(Math.max(0, left), undefined, signal && { signal });
    }
  } catch (error) {
    throw operationError(operation, error, signal);
  }
}

function check(intervalMs: number, metrics: string | undefined): void {
  if (!(intervalMs >= 100 && intervalMs <= 3_600_000)) {
    throw invalidArgument({
      argument: "intervalMs",
      reason: "out_of_range",
      rule: "must be from 100 to 3600000",
      received: intervalMs,
    }).withOperation(operation);
  }
  if (metrics === undefined) return;
  const url = URL.canParse(metrics) ? new URL(metrics) : undefined;
  if (url && /^https?:$/.test(url.protocol) && !url.username) return;
  throw invalidArgument({
    argument: "metrics",
    reason: "bad_metrics_url",
    rule: "must be an address that begins with http:// or https://, " +
      "without a login",
  }).withOperation(operation);
}

function now(): string {
  return new Date().toISOString();
}

/** The positions of a partition's streams at the last look. */
interface Places {
  partition: string;
  at: number;
  streams: Map<StreamId, { generation: bigint; slots: bigint }>;
}

class Watch {
  readonly #core: ReadCore;
  readonly #metrics: string | undefined;
  readonly #signal: AbortSignal | undefined;
  #before: Counts | undefined;
  #places: Places | undefined;

  constructor(core: ReadCore, { metrics, signal }: {
    metrics: string | undefined;
    signal: AbortSignal | undefined;
  }) {
    this.#core = core;
    this.#metrics = metrics;
    this.#signal = signal;
  }

  async look(): Promise<WatchSample> {
    const pending = this.#requestMetrics();
    const [database, partitions, activity] = await this.#read([
      bind(selectDatabase),
      bind(selectPartitions, this.#core.schema),
      bind(selectActivity),
    ]);
    const [
      version,
      isStandby,
      connections,
      maxConnections,
      commits,
      rollbacks,
      hits,
      reads,
    ] = database.rows[0]!;
    const reading = await pending;
    const counts: Counts = {
      at: performance.now(),
      commits,
      rollbacks,
      hits,
      reads,
      partitions: new Map(
        partitions.rows.map((
          [name, written, read],
        ) => [name, { written, read }]),
      ),
      calls: typeof reading === "object" ? reading.calls : undefined,
    };
    const before = this.#before;
    this.#before = counts;
    const seconds = before && (counts.at - before.at) / 1000;
    const hot = before ? hotPartitions(before, counts) : [];
    return {
      at: now(),
      seconds: seconds ?? null,
      serverVersion: version.split(" ")[0]!,
      isStandby,
      connections: Number(connections),
      maxConnections: Number(maxConnections),
      ...await this.#owner(isStandby),
      rates: before ? ratesOf(before, counts) : null,
      ...activityOf(activity.rows),
      partitions: hot.slice(0, maxPartitions),
      streams: await this.#hotStreams(hot[0]?.partition),
      ...storeOf(reading, before, counts),
    };
  }

  /** The request runs while the server is asked. */
  #requestMetrics(): ReturnType<typeof readMetrics> | undefined {
    if (this.#metrics === undefined) return undefined;
    const pending = readMetrics(this.#metrics, this.#signal);
    // `look` awaits it; a failure before that must not go unhandled.
    pending.catch(() => {});
    return pending;
  }

  #read<const B extends readonly Bound[]>(bound: B): Promise<ResultsOf<B>> {
    const context = { name: operation, signal: this.#signal };
    return this.#core.transactions.read(context, bound);
  }

  async #owner(
    isStandby: boolean,
  ): Promise<Pick<WatchSample, "owner" | "isLocked">> {
    const { schema, catalog } = this.#core;
    const holders = isStandby ? undefined : await holdersOf(
      { run: (bound) => this.#read(bound) },
      schemaLockId(schema),
    );
    const isLocked = holders && holders.length > 0;
    try {
      const { selectRows } = ownershipSql(catalog.table("singlenodekey"));
      const [rows] = await this.#read([bind(selectRows)]);
      return { owner: ownerFacts(ownerRows(rows)), isLocked };
    } catch (error) {
      if (!mayNotLook(error)) throw error;
      return { owner: undefined, isLocked };
    }
  }

  /** Compares with the last look, if that was at the same partition. */
  async #hotStreams(partition: string | undefined): Promise<HotStream[]> {
    if (partition === undefined || partition === "") return [];
    let rows;
    try {
      const tables = this.#core.catalog.tablesAt(partition);
      const statement = selectMinipools(tables);
      [{ rows }] = await this.#read([bind(statement, tables.minipools)]);
    } catch (error) {
      if (!mayNotLook(error)) throw error;
      return [];
    }
    const at = performance.now();
    const before = this.#places;
    const streams: Places["streams"] = new Map(
      rows.map(([id, generation, slot]) => [
        id as StreamId,
        { generation, slots: slot + 1n },
      ]),
    );
    this.#places = { partition, at, streams };
    if (before?.partition !== partition) return [];
    const seconds = (at - before.at) / 1000;
    return [...streams].map(([streamId, { generation, slots }]) => {
      const last = before.streams.get(streamId) ?? { generation, slots: 0n };
      const blocks = Number(generation - last.generation);
      const events = Number(blocks === 0 ? slots - last.slots : slots);
      return {
        streamId: streamId as string,
        events: Math.max(0, events) / seconds,
        blocks: Math.max(0, blocks) / seconds,
      };
    })
      .filter(({ events, blocks }) => events + blocks > 0)
      .toSorted((a, b) => b.events + b.blocks - a.events - a.blocks)
      .slice(0, maxStreams);
  }
}

/**
 * Whether the role lacks a right, or another session holds a lock. Then the
 * rest can still be shown.
 */
function mayNotLook(error: unknown): boolean {
  return ["42501", "55P03", "57014"].includes(sqlStateOf(error) ?? "");
}
