/** Writes to other streams that are issued together with the lost one. */
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import { bytes, snapshotBlock } from "../../../src/testing/contract/support.ts";
import type { Scenario } from "./combinations.ts";

/** The other streams, which are new for each combination. */
export type Others = readonly [StreamId, StreamId, StreamId];

type OtherCall = (
  storage: StreamStorage,
  [a, b, c]: Others,
) => Promise<unknown>;

/** The writes to the other streams. */
export interface Elsewhere {
  before: readonly OtherCall[];
  /** Issued in the same turn as the lost write. */
  at: readonly OtherCall[];
  /** Later writes, after which late copies of the earlier ones would fit. */
  later: readonly OtherCall[];
}

const nothing: Elsewhere = { before: [], at: [], later: [] };

/** Small writes, which share a batch. */
const inOneBatch: Elsewhere = {
  before: [
    (s, [a]) => s.createStreamStorage(a, snapshotBlock(0)),
    (s, [, b]) => s.createStreamStorage(b, snapshotBlock(0)),
  ],
  at: [
    (s, [a]) => s.writeEvent(a, 1n, 0, bytes("with the first write")),
    (s, [, b]) =>
      s.writeMiniblocks(
        b,
        [snapshotBlock(1)],
        { generation: 2n, envelopes: [] },
        { generation: 1n },
      ),
    (s, [, , c]) => s.createStreamStorage(c, snapshotBlock(0)),
  ],
  later: [
    (s, [a]) => s.deleteStream(a),
    (s, [a]) => s.createStreamStorage(a, snapshotBlock(0)),
    (s, [, b]) => s.debugDeleteMiniblocks(b, 1n, 2n),
    (s, [, , c]) => s.deleteStream(c),
  ],
};

const large = { number: 0n, data: new Uint8Array(66_000).fill(121) };

/**
 * Large writes. Each has a transaction of its own, which is in flight when the
 * owner misses the answer to the lost write.
 */
const inOtherSlots: Elsewhere = {
  before: [],
  at: [
    (s, [a]) => s.createStreamStorage(a, large),
    (s, [, b]) => s.createStreamStorage(b, large),
    (s, [, , c]) => s.createStreamStorage(c, large),
  ],
  later: [
    (s, [a]) => s.deleteStream(a),
    (s, [, b]) => s.deleteStream(b),
    (s, [, , c]) => s.deleteStream(c),
  ],
};

/** The writes to other streams in this scenario. */
export function elsewhereOf(scenario: Scenario): Elsewhere {
  if (scenario === "other streams") return inOneBatch;
  if (scenario === "other slots") return inOtherSlots;
  return nothing;
}
