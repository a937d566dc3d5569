/**
 * Writes of the background workers, called by hand. They can be lost, too, and
 * delete more than most. On the twin an operation of `StreamStorage` does the
 * same.
 */
import type { StreamMaintenance } from "../../../src/postgres/maintenance.ts";
import type { TrimmingOptions } from "../../../src/postgres/trimming_options.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { Facts, WriteOperation } from "./write_calls.ts";

/** Calls that write nothing, or need object storage, which is not tried here. */
const NOT_TRIED = [
  "updateTrimming",
  "workers",
  "offloadMedia",
  "rehydrateMedia",
  "reconcileMedia",
] as const satisfies readonly (keyof StreamMaintenance)[];

/** Writes of the background, by name. */
export type BackgroundOperation = Exclude<
  keyof StreamMaintenance,
  typeof NOT_TRIED[number]
>;

interface BackgroundWrite {
  /**
   * The operation that does the same on the twin, and its arguments after the
   * stream's id; undefined if there is nothing to do.
   */
  onTwin(
    facts: Facts | undefined,
  ): { operation: WriteOperation; args: unknown[] } | undefined;
  /** The call of the store's maintenance. */
  onStore(maintenance: StreamMaintenance, id: StreamId): Promise<unknown>;
}

/** The rules by which the stores trim. */
export const TRIMMING: TrimmingOptions = { historyMiniblocks: { default: 1n } };

/** Every background write that is tried. */
export const BACKGROUND_WRITES: {
  readonly [Name in BackgroundOperation]: BackgroundWrite;
} = {
  sweepEphemeralStreams: {
    onTwin: (facts) =>
      facts?.isEphemeral ? { operation: "deleteStream", args: [] } : undefined,
    onStore: (maintenance) => maintenance.sweepEphemeralStreams({ ttlMs: 0 }),
  },
  trimStreams: {
    onTwin: (facts) => {
      if (facts?.events === undefined) return undefined;
      const first = facts.numbers[0] ?? 0n;
      const cut = facts.snapshots.findLast((number) => number < facts.latest);
      if (cut === undefined || cut <= first) return undefined;
      return { operation: "trimStream", args: [cut, []] };
    },
    onStore: (maintenance, streamId) => maintenance.trimStreams({ streamId }),
  },
};
