/** Writes to other streams, issued together with the one that is lost. */
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import { bytes, snapshotBlock } from "../../../src/testing/contract/support.ts";
import type { Scenario } from "./combinations.ts";

/** The streams that they are about, new ones for each combination. */
export type Others = readonly [StreamId, StreamId, StreamId];

type OtherCall = (
  storage: StreamStorage,
  [a, b, c]: Others,
) => Promise<unknown>;

/** What becomes of the other streams. */
export interface Elsewhere {
  before: readonly OtherCall[];
  /** In one turn with the write that is lost. */
  at: readonly OtherCall[];
  /** Makes room for what was lost with it. */
  later: readonly OtherCall[];
}

const nothing: Elsewhere = { before: [], at: [], later: [] };

/** Small ones, which share a batch. */
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
 * Large ones: each has a transaction of its own, and is under way when the
 * answer of the lost write is missed.
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

/** The writes elsewhere that this scenario stands for. */
export function elsewhereOf(scenario: Scenario): Elsewhere {
  if (scenario === "other streams") return inOneBatch;
  if (scenario === "other slots") return inOtherSlots;
  return nothing;
}
