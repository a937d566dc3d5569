/**
 * The option `trimming`: what may be removed of streams. Checked when a store
 * is opened, and when the option is replaced later.
 */

import {
  isStoredForm,
  type StreamId,
  type StreamType,
  streamType,
  streamTypes,
} from "../storage/stream_id.ts";
import {
  also,
  type Checked,
  int,
  list,
  object,
  record,
  that,
  uint63,
  withDefault,
} from "./checks.ts";

/**
 * What the trimmer may remove, and when.
 *
 * @example Look at a stream at every 10th snapshot, keep 5000 blocks before it.
 * ```ts
 * import type { TrimmingOptions } from "@towns/stream-storage";
 *
 * const trimming: TrimmingOptions = {
 *   activationFactor: 10,
 *   historyMiniblocks: { space: 0n, default: 5000n },
 *   snapshotRetentionInterval: 1000n,
 * };
 * ```
 */
export interface TrimmingOptions {
  /**
   * A stream is trimmed at every n-th snapshot written. Default 0: only by
   * `maintenance.trimStreams` and `targets`.
   */
  activationFactor?: number;
  /**
   * At least so many blocks stay before the latest snapshot: the cut is at the
   * nearest snapshot that keeps them. Default 0: all blocks stay.
   */
  historyMiniblocks?: Partial<Record<StreamType | "default", bigint>>;
  /**
   * The node's own setting: events between two snapshots. The storage sees no
   * events in blocks and makes no snapshots. So only one thing counts here: a
   * type with 0 is not trimmed. Default: every type except media is trimmed.
   */
  minSnapshotEvents?: Partial<Record<StreamType | "default", number>>;
  /**
   * Of the snapshots in each interval of this many block numbers, at least 100,
   * only the first stays. Default 0: all snapshots stay.
   */
  snapshotRetentionInterval?: bigint;
  /**
   * Single streams to cut at once, at the nearest snapshot that keeps this
   * block, whatever the other options say. At most 10 000.
   */
  targets?: { streamId: StreamId; miniblock: bigint }[];
  /** Blocks or snapshots that one transaction removes at most. Default 1000. */
  batchSize?: number;
}

/** The rules for one stream. */
export interface TrimmingRules {
  /** Blocks to keep before the latest snapshot; 0: all. */
  history: bigint;
  /** 0: all snapshots stay. */
  retention: bigint;
  /** The block to cut at, if there is one. */
  target: bigint | undefined;
  batchSize: number;
  /**
   * Snapshots up to this block were cleared with the same interval before.
   * Default: none. Only saves work.
   */
  clearedTo?: bigint | undefined;
}

const types: readonly (StreamType | "default")[] = [...streamTypes, "default"];

const minRetention = 100n;

/** Checks the option and fills in defaults. */
export const checkTrimming = object({
  activationFactor: withDefault(int(0, 1_000_000), 0),
  historyMiniblocks: withDefault(record(types, uint63), {}),
  minSnapshotEvents: withDefault(record(types, int(0, 1_000_000_000)), {}),
  snapshotRetentionInterval: withDefault(
    also(uint63, (interval, place) => {
      if (interval !== 0n && interval < minRetention) {
        place.refuse(`must be 0 or at least ${minRetention}`);
      }
      return interval;
    }),
    0n,
  ),
  targets: withDefault(
    list(
      object({
        streamId: that<StreamId>(isStoredForm, "must be a stream id"),
        miniblock: uint63,
      }),
      10_000,
    ),
    [],
  ),
  batchSize: withDefault(int(1, 100_000), 1000),
});

/** The option with every default filled in. */
export type ResolvedTrimming = Checked<typeof checkTrimming>;

/** The rules for a stream without its target; undefined: nothing may go. */
export function trimmingRules(
  trimming: ResolvedTrimming,
  streamId: StreamId,
): TrimmingRules | undefined {
  const {
    historyMiniblocks: histories,
    minSnapshotEvents: events,
    snapshotRetentionInterval: retention,
    batchSize,
  } = trimming;
  const type = streamType(streamId);
  // A media stream is a file, so it is trimmed only if an option names the
  // type.
  const isNamed = type !== "media" ||
    Boolean(histories.media) || Boolean(events.media);
  if (!isNamed || (events[type] ?? events.default) === 0) return undefined;
  const history = histories[type] ?? histories.default ?? 0n;
  if (history === 0n && retention === 0n) return undefined;
  return { history, retention, target: undefined, batchSize };
}
