/**
 * The option `trimming`: what of a stream may go. Checked when a store is
 * opened and when it is replaced while running.
 */

import { z } from "zod";
import {
  isStoredForm,
  type StreamId,
  type StreamType,
  streamType,
} from "../storage/stream_id.ts";

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
   * A stream is trimmed at every n-th snapshot that is written. Default 0:
   * never by itself, only by `maintenance.trimStreams` and `targets`.
   */
  activationFactor?: number;
  /**
   * Blocks that stay before the latest snapshot, at least: the cut is made at
   * the nearest snapshot that keeps so many. 0, the default: all stay.
   */
  historyMiniblocks?: Partial<Record<StreamType | "default", bigint>>;
  /**
   * The node's own setting: events between two snapshots. The storage sees no
   * events in blocks and makes no snapshots, so all that counts here is that a
   * type with 0 is not trimmed. Default: every type but media is.
   */
  minSnapshotEvents?: Partial<Record<StreamType | "default", number>>;
  /**
   * Of the snapshots in each interval of so many block numbers the first one
   * stays, 100 at least. 0, the default: all stay.
   */
  snapshotRetentionInterval?: bigint;
  /**
   * Single streams that are cut at once, at the nearest snapshot that keeps
   * this block, whatever else the options say. At most 10 000.
   */
  targets?: { streamId: StreamId; miniblock: bigint }[];
  /** Blocks, or snapshots, that one transaction removes at most. Default 1000. */
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
   * Up to this block snapshots were cleared by the same interval before.
   * Default: nowhere. Only saves work.
   */
  clearedTo?: bigint | undefined;
}

const types = [
  "space",
  "channel",
  "dm",
  "gdm",
  "media",
  "metadata",
  "user",
  "user_settings",
  "user_inbox",
  "user_metadata",
  "unknown",
  "default",
] as const satisfies readonly (StreamType | "default")[];

const minRetention = 100n;
const miniblock = z.bigint().min(0n).max(2n ** 63n - 1n);

/** Checks the option and fills in defaults. */
export const trimmingSchema = z.strictObject({
  activationFactor: z.int().min(0).max(1_000_000).default(0),
  historyMiniblocks: z.partialRecord(z.enum(types), miniblock).default({}),
  minSnapshotEvents: z.partialRecord(
    z.enum(types),
    z.int().min(0).max(1_000_000_000),
  ).default({}),
  snapshotRetentionInterval: miniblock.refine(
    (interval) => interval === 0n || interval >= minRetention,
    { message: `must be 0 or at least ${minRetention}` },
  ).default(0n),
  targets: z.array(z.strictObject({
    streamId: z.custom<StreamId>(isStoredForm, "must be a stream id"),
    miniblock,
  })).max(10_000).default([]),
  batchSize: z.int().min(1).max(100_000).default(1000),
});

/** The option with every default filled in. */
export type ResolvedTrimming = z.output<typeof trimmingSchema>;

/** The rules for a stream, its target aside; undefined: nothing may go. */
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
  // A media stream is a file: nobody means it who does not name it.
  const isNamed = type !== "media" ||
    Boolean(histories.media) || Boolean(events.media);
  if (!isNamed || (events[type] ?? events.default) === 0) return undefined;
  const history = histories[type] ?? histories.default ?? 0n;
  if (history === 0n && retention === 0n) return undefined;
  return { history, retention, target: undefined, batchSize };
}
