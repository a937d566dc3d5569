/** The streams to which the lost writes go. */
import type { StreamId, StreamType } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import {
  block,
  bytes,
  candidate,
  mediaGenesis,
  snapshotBlock,
} from "../../../src/testing/contract/support.ts";

type PrepareStep = (storage: StreamStorage, id: StreamId) => Promise<unknown>;

interface PreparedStream {
  type: StreamType & ("space" | "media");
  steps: readonly PrepareStep[];
}

const create: PrepareStep = (s, id) =>
  s.createStreamStorage(id, snapshotBlock(0));

const event = (generation: bigint, slot: number): PrepareStep => (s, id) =>
  s.writeEvent(id, generation, slot, bytes(`event ${generation}/${slot}`));

/** Blocks 0 to 4, snapshots at 0, 2 and 4, events, and candidates. */
const grown: readonly PrepareStep[] = [
  create,
  event(1n, 0),
  (s, id) =>
    s.writeMiniblocks(
      id,
      [block(1), snapshotBlock(2), block(3), snapshotBlock(4)],
      { generation: 5n, envelopes: [bytes("waiting")] },
      { generation: 1n, size: 1 },
    ),
  event(5n, 1),
  (s, id) => s.writeMiniblockCandidate(id, candidate(5)),
  (s, id) => s.writeMiniblockCandidate(id, candidate(6)),
];

/** A refused write makes a store forget what it knows about the minipool. */
const forget: PrepareStep = (s, id) =>
  s.writeEvent(id, 5n, 99, bytes("refused")).catch(() => {});

/** Every kind of stream, and every state of the minipool cache, by name. */
export const PREPARED_STREAMS = {
  unknown: { type: "media", steps: [] },
  new: { type: "space", steps: [create] },
  grown: { type: "space", steps: grown },
  "grown, minipool not in the cache": {
    type: "space",
    steps: [...grown, forget],
  },
  trimmed: {
    type: "space",
    steps: [...grown, (s, id) => s.trimStream(id, 2n, [])],
  },
  archive: {
    type: "space",
    steps: [
      (s, id) => s.createStreamArchiveStorage(id),
      (s, id) => s.writeArchiveMiniblocks(id, 0n, [block(0), snapshotBlock(1)]),
    ],
  },
  "empty archive": {
    type: "space",
    steps: [(s, id) => s.createStreamArchiveStorage(id)],
  },
  "complete upload": {
    type: "media",
    steps: [
      (s, id) => s.writeEphemeralMiniblock(id, mediaGenesis(1).genesis),
      (s, id) => s.writeEphemeralMiniblock(id, block(1)),
    ],
  },
  "complete upload of no chunks": {
    type: "media",
    steps: [
      (s, id) => s.createEphemeralStreamStorage(id, mediaGenesis(0).genesis),
    ],
  },
  "incomplete upload": {
    type: "media",
    steps: [
      (s, id) => s.createEphemeralStreamStorage(id, mediaGenesis(2).genesis),
      (s, id) => s.writeEphemeralMiniblock(id, block(2)),
    ],
  },
} as const satisfies Record<string, PreparedStream>;

/** The name of a prepared stream. */
export type PreparedName = keyof typeof PREPARED_STREAMS;
