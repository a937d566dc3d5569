/** Simulates trimming without owning the store. */

import { LegacySnapshots } from "../../postgres/legacy_snapshots.ts";
import { resolveTrimming } from "../../postgres/live_options.ts";
import type { TrimmedStream, TrimRefusal } from "../../postgres/maintenance.ts";
import { measureByRules } from "../../postgres/operations/trim_by_rules.ts";
import type { TrimReader } from "../../postgres/operations/trim_plan.ts";
import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import {
  type ResolvedTrimming,
  type TrimmingOptions,
  type TrimmingRules,
  trimmingRules,
} from "../../postgres/trimming_options.ts";
import { isStreamStorageError } from "../../storage/errors.ts";
import {
  type StreamId,
  type StreamType,
  streamType,
} from "../../storage/stream_id.ts";
import { reading } from "../reading.ts";
import { countStreams, walkRows } from "../streams/walk.ts";
import type { UsageProgress } from "../usage/types.ts";
import { Throttle } from "../verify/throttle.ts";

/** What trimming would remove from the streams of one type. */
export interface TypeTrimming {
  /** The type. */
  type: StreamType;
  /** The number of streams that would lose something. */
  streams: number;
  /** Blocks that would be removed. */
  miniblocks: number;
  /**
   * Snapshots that would be cleared, in addition to those of removed blocks.
   */
  snapshots: number;
  /** The bytes of these blocks and snapshots. */
  bytes: bigint;
}

/** The result of `simulateTrimming`. */
export interface TrimmingSimulation {
  /** The number of examined streams. */
  streams: number;
  /** The types of streams, those that would lose most first. */
  types: TypeTrimming[];
  /** The streams that would lose most, 100 at most. */
  largest: TrimmedStream[];
  /** Streams that can't be trimmed because they are damaged, 1000 at most. */
  refusals: TrimRefusal[];
}

/** The options of `simulateTrimming`. */
export interface SimulateTrimmingOptions extends StreamReaderOptions {
  /** The rules of trimming, as in the options of a store. */
  trimming: TrimmingOptions;
  /**
   * Called for each stream that would lose something. A returned promise is
   * awaited.
   */
  onStream?: (stream: TrimmedStream) => void | Promise<void>;
  /** Called after each page. */
  onProgress?: (progress: UsageProgress) => void;
}

const operation = "simulateTrimming";
const maxLargest = 100;
const maxRefusals = 1000;
/** The number of streams examined at the same time. */
const concurrency = 4;

/**
 * Reports what `maintenance.trimStreams` would remove with these options, due
 * or not. It only reads, so another instance may own the store.
 *
 * @throws {StreamStorageError} as `openStreamReader`; BAD_CONFIG for the options.
 */
export async function simulateTrimming(
  { trimming, onStream, onProgress, ...options }: SimulateTrimmingOptions,
): Promise<TrimmingSimulation> {
  const resolved = resolveTrimming(trimming);
  return await reading(operation, options, async (core) => {
    const { signal } = options;
    const throttle = new Throttle();
    const context = { core, name: operation, signal, throttle };
    const reader: TrimReader = {
      catalog: core.catalog,
      transactions: core.transactions,
      cache: { legacySnapshots: new LegacySnapshots() },
    };
    const simulation = new Simulation(reader, resolved, onStream);
    const total = Number(await countStreams(context));
    let done = 0;
    for await (const rows of walkRows(context, { after: "", prefix: "" })) {
      // Without a snapshot after the first block there is no possible cut.
      const ids = rows.filter(({ isEphemeral, location, latestSnapshot }) =>
        !isEphemeral && location === "database" && latestSnapshot > 0n
      ).map(({ streamId }) => streamId);
      await simulation.lookAt(ids, signal);
      done += rows.length;
      simulation.report.streams = done;
      onProgress?.({ done, total: Math.max(total, done) });
    }
    return simulation.sorted();
  });
}

class Simulation {
  readonly report: TrimmingSimulation = {
    streams: 0,
    types: [],
    largest: [],
    refusals: [],
  };
  readonly #reader: TrimReader;
  readonly #trimming: ResolvedTrimming;
  readonly #targets: ReadonlyMap<StreamId, bigint>;
  readonly #onStream: SimulateTrimmingOptions["onStream"];

  constructor(
    reader: TrimReader,
    trimming: ResolvedTrimming,
    onStream: SimulateTrimmingOptions["onStream"],
  ) {
    this.#reader = reader;
    this.#trimming = trimming;
    this.#onStream = onStream;
    this.#targets = new Map(
      trimming.targets.map(({ streamId, miniblock }) => [streamId, miniblock]),
    );
  }

  async lookAt(ids: readonly StreamId[], signal?: AbortSignal): Promise<void> {
    const waiting = ids.values();
    const work = async () => {
      for (const streamId of waiting) {
        signal?.throwIfAborted();
        await this.#look(streamId, signal);
      }
    };
    await Promise.all(Array.from({ length: concurrency }, work));
  }

  sorted(): TrimmingSimulation {
    this.report.types.sort((a, b) => Number(b.bytes - a.bytes));
    return this.report;
  }

  async #look(streamId: StreamId, signal?: AbortSignal): Promise<void> {
    const rules = this.#rulesOf(streamId);
    if (rules === undefined) return;
    const call = { name: operation, streamId, signal };
    try {
      const trimmed = await measureByRules(this.#reader, call, rules);
      if (typeof trimmed !== "string") await this.#note(streamId, trimmed);
      else if (trimmed !== "archive_stream") this.#refuse(streamId, trimmed);
    } catch (error) {
      // The stream was deleted meanwhile, or trimmed by the owner.
      const isPassing = isStreamStorageError(error, "NOT_FOUND") ||
        (isStreamStorageError(error) &&
          error.details.reason === "stream_changed");
      if (!isPassing) throw error;
    }
  }

  #rulesOf(streamId: StreamId): TrimmingRules | undefined {
    const rules = trimmingRules(this.#trimming, streamId);
    const target = this.#targets.get(streamId);
    if (target === undefined) return rules;
    const { batchSize } = this.#trimming;
    return { history: 0n, retention: 0n, batchSize, ...rules, target };
  }

  #refuse(streamId: StreamId, reason: string): void {
    const { refusals } = this.report;
    if (refusals.length < maxRefusals) refusals.push({ streamId, reason });
  }

  async #note(
    streamId: StreamId,
    { cut, miniblocks, snapshots, cleared, bytes }: Exclude<
      Awaited<ReturnType<typeof measureByRules>>,
      string
    >,
  ): Promise<void> {
    if (miniblocks + snapshots === 0) return;
    const type = streamType(streamId);
    const { types, largest } = this.report;
    let its = types.find((each) => each.type === type);
    if (its === undefined) {
      its = { type, streams: 0, miniblocks: 0, snapshots: 0, bytes: 0n };
      types.push(its);
    }
    its.streams++;
    its.miniblocks += miniblocks;
    its.snapshots += snapshots;
    its.bytes += bytes;
    const stream: TrimmedStream = {
      streamId,
      ...(cut !== undefined && { trimToMbExclusive: cut }),
      miniblocks,
      snapshots,
      nullifySnapshotMbs: cleared,
      bytes,
    };
    largest.push(stream);
    largest.sort((a, b) => Number(b.bytes - a.bytes));
    largest.length = Math.min(largest.length, maxLargest);
    await this.#onStream?.(stream);
  }
}
