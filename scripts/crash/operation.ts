/**
 * The calls of the writers as plain data, and the effect of each on a stream.
 */
import type {
  DebugReadStreamDataResult,
  MiniblockDescriptor,
  StreamId,
  StreamStorage,
} from "../../mod.ts";
import type { Payloads } from "./payload.ts";

/** A call on a stream. Numbers named `id` stand for payloads; 0 is none. */
export type Operation =
  & { stream: StreamId }
  & (
    | { kind: "create"; block: BlockIds }
    | { kind: "event"; generation: number; slot: number; id: number }
    | {
      kind: "blocks";
      first: number;
      blocks: BlockIds[];
      size: number;
      events: number[];
    }
    | { kind: "candidate"; number: number; id: number }
    | { kind: "chunk"; number: number; id: number }
    | { kind: "delete" }
  );

/** A block's data and snapshot. */
export type BlockIds = [id: number, snapshotId: number];

/** A stored stream, with the payloads' ids in their place. */
export interface Image {
  ephemeral: boolean;
  latestSnapshot: number;
  blocks: [number: number, ...BlockIds][];
  /** Generation and events; null if there is no minipool. */
  minipool: [generation: number, events: number[]] | null;
  candidates: [number: number, id: number][];
}

/** Makes the call. */
export function perform(
  storage: StreamStorage,
  payloads: Payloads,
  operation: Operation,
): Promise<void> {
  const { stream } = operation;
  const bytes = (id: number) => payloads.bytes(id);
  const block = (
    number: number,
    [id, snapshotId]: BlockIds,
  ): MiniblockDescriptor => ({
    number: BigInt(number),
    data: bytes(id),
    ...(snapshotId === 0 ? {} : { snapshot: bytes(snapshotId) }),
  });
  switch (operation.kind) {
    case "create":
      return storage.createStreamStorage(stream, block(0, operation.block));
    case "event": {
      const { generation, slot, id } = operation;
      return storage.writeEvent(stream, BigInt(generation), slot, bytes(id));
    }
    case "blocks": {
      const { first, blocks, size, events } = operation;
      return storage.writeMiniblocks(
        stream,
        blocks.map((ids, i) => block(first + i, ids)),
        {
          generation: BigInt(first + blocks.length),
          envelopes: events.map(bytes),
        },
        { generation: BigInt(first), size },
      );
    }
    case "candidate": {
      const { number, id } = operation;
      return storage.writeMiniblockCandidate(stream, {
        ...block(number, [id, 0]),
        hash: payloads.hash(id),
      });
    }
    case "chunk": {
      const { number, id } = operation;
      return storage.writeEphemeralMiniblock(stream, block(number, [id, 0]));
    }
    case "delete":
      return storage.deleteStream(stream);
  }
}

/** A state of a stream; undefined: it does not exist. */
export type State = Image | undefined;

/**
 * Returns the stream after the operation; "refused" if the store must refuse
 * it.
 */
export function applied(image: State, operation: Operation): State | "refused" {
  switch (operation.kind) {
    case "create":
      return image === undefined ? created(operation.block) : "refused";
    case "delete":
      return image === undefined ? "refused" : undefined;
    case "chunk":
      return withChunk(image, operation.number, operation.id);
  }
  if (image === undefined || image.minipool === null) return "refused";
  const [generation, events] = image.minipool;
  switch (operation.kind) {
    case "event": {
      const { slot, id } = operation;
      return generation === operation.generation && events.length === slot
        ? { ...image, minipool: [generation, [...events, id]] }
        : "refused";
    }
    case "candidate": {
      const { number, id } = operation;
      if (number < generation) return "refused";
      return {
        ...image,
        candidates: sorted([...image.candidates, [number, id]]),
      };
    }
    case "blocks": {
      const isDue = operation.first === generation &&
        operation.size === events.length;
      return isDue ? withBlocks(image, operation) : "refused";
    }
  }
}

function created(block: BlockIds): Image {
  return {
    ephemeral: false,
    latestSnapshot: 0,
    blocks: [[0, ...block]],
    minipool: [1, []],
    candidates: [],
  };
}

function withChunk(
  image: State,
  number: number,
  id: number,
): State | "refused" {
  const stream = image ??
    {
      ephemeral: true,
      latestSnapshot: 0,
      blocks: [],
      minipool: null,
      candidates: [],
    };
  const isFree = stream.blocks.every(([stored]) => stored !== number);
  if (!stream.ephemeral || !isFree) return "refused";
  return { ...stream, blocks: sorted([...stream.blocks, [number, id, 0]]) };
}

function withBlocks(
  image: Image,
  { first, blocks, events }: Operation & { kind: "blocks" },
): Image {
  const next = first + blocks.length;
  const added = blocks.map((ids, i): Image["blocks"][number] => [
    first + i,
    ...ids,
  ]);
  const snapshot = added.findLast(([, , snapshotId]) => snapshotId !== 0);
  return {
    ...image,
    latestSnapshot: snapshot?.[0] ?? image.latestSnapshot,
    blocks: [...image.blocks, ...added],
    minipool: [next, events],
    candidates: image.candidates.filter(([number]) => number >= next),
  };
}

/** Sorts by number, then by id. */
function sorted<T extends [number, number, ...number[]]>(entries: T[]): T[] {
  return entries.sort(([a, idA], [b, idB]) => a - b || idA - idB);
}

/**
 * Reads the stored stream as an image.
 *
 * @throws {Error} a payload differs from what was written, or a row is
 *   unexpected.
 */
export function imageOf(
  stored: DebugReadStreamDataResult & { ephemeral: boolean },
  payloads: Payloads,
): Image {
  const { streamId, ephemeral, miniblocks, events, miniblockCandidates } =
    stored;
  const idOf = (bytes: Uint8Array | undefined, what: string) => {
    const id = bytes && payloads.idOf(bytes);
    if (id !== undefined) return id;
    throw new Error(`The bytes of ${what} of stream ${streamId} are wrong`);
  };
  const marker = events.find(({ slot }) => slot === -1);
  const envelopes = events.filter(({ slot }) => slot !== -1);
  const isWhole = envelopes.every(({ slot, generation }, i) =>
    slot === i && generation === marker?.generation
  );
  if (!isWhole) throw new Error(`The minipool of ${streamId} is broken`);
  return {
    ephemeral,
    latestSnapshot: Number(stored.latestSnapshotMiniblockNum),
    blocks: miniblocks.map(({ number, data, snapshot }) => [
      Number(number),
      idOf(data, `block ${number}`),
      snapshot === undefined ? 0 : idOf(snapshot, `snapshot ${number}`),
    ]),
    minipool: marker === undefined ? null : [
      Number(marker.generation),
      envelopes.map(({ slot, data }) => idOf(data, `event ${slot}`)),
    ],
    candidates: sorted(
      miniblockCandidates.map(({ number, data }) => [
        Number(number),
        idOf(data, `candidate ${number}`),
      ]),
    ),
  };
}
