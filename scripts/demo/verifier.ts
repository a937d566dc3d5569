/** Reads streams back in every way and compares every byte. */
import {
  isStreamStorageError,
  type MiniblockDescriptor,
  type MiniblockRange,
  type StreamId,
  type StreamStorage,
  streamType,
} from "../../mod.ts";
import { firstDifference, sizeOf } from "./bytes.ts";
import { mapConcurrently } from "./concurrency.ts";
import type { ExpectedStream } from "./stream_author.ts";

/** The storage does not hold what was written. */
export class VerificationError extends Error {
  override name = "VerificationError";

  /** `what` says what differs, and how; `streamId` in which stream. */
  constructor(what: string, streamId?: StreamId) {
    super(
      streamId === undefined
        ? what
        : `${what}, in ${streamType(streamId)} stream ${streamId}`,
    );
  }
}

/** How much was found as it was written. */
export interface Verified {
  /** 1, or 0 for a deleted stream. */
  streams: number;
  blocks: number;
  /** Snapshots beside blocks; those inside blocks are not counted. */
  snapshots: number;
  minipoolEvents: number;
  candidates: number;
  /** The bytes of all these, each counted once. */
  bytes: number;
  /** Bytes that were read and compared. Most are read in several ways. */
  bytesRead: number;
}

/** How to verify streams. */
export interface VerifyOptions {
  /** How many streams are read at the same time. Default 8. */
  concurrency?: number;
  /** Stops the verification between two streams, with the signal's reason. */
  signal?: AbortSignal;
  /** Called after every stream. */
  onStream?: () => void;
}

/**
 * Compares everything in a storage with what must be there. Returns how much
 * was found of each stream, in their order.
 *
 * @throws {VerificationError} something differs; the first difference is
 *   reported.
 */
export async function verifyStreams(
  storage: StreamStorage,
  expected: readonly ExpectedStream[],
  options: VerifyOptions = {},
): Promise<Verified[]> {
  const { concurrency = 8, signal, onStream } = options;
  await verifyList(storage, expected);
  return await mapConcurrently(expected, concurrency, async (stream) => {
    signal?.throwIfAborted();
    const found = await verifyStream(storage, stream);
    onStream?.();
    return found;
  });
}

/**
 * Compares one stream with what must be stored of it.
 *
 * @throws {VerificationError} something differs; the first difference is
 *   reported.
 */
export async function verifyStream(
  storage: StreamStorage,
  expected: ExpectedStream,
): Promise<Verified> {
  const reading = new Reading(storage, expected);
  if (expected.state === "deleted") {
    await reading.deleted();
    return reading.verified;
  }
  await reading.range();
  await reading.pages();
  await reading.fromLastSnapshot(0);
  await reading.fromLastSnapshot(3);
  await reading.candidates();
  await reading.numbers();
  return reading.verified;
}

/** One stream, read in different ways. */
class Reading {
  readonly verified = nothingVerified();
  readonly #storage: StreamStorage;
  readonly #expected: ExpectedStream;
  readonly #streamId: StreamId;

  constructor(storage: StreamStorage, expected: ExpectedStream) {
    this.#storage = storage;
    this.#expected = expected;
    this.#streamId = expected.streamId;
  }

  async deleted(): Promise<void> {
    try {
      await this.#storage.getLastMiniblockNumber(this.#streamId);
    } catch (error) {
      if (isStreamStorageError(error, "NOT_FOUND")) return;
      throw error;
    }
    this.#fail("Reading what was deleted must fail");
  }

  /** Reads all blocks at once, then again without their snapshots. */
  async range(): Promise<void> {
    const { blocks } = this.#expected;
    const [from, to] = this.#bounds();
    const read = (omitSnapshot: boolean) =>
      this.#storage.readMiniblocks(this.#streamId, from, to, { omitSnapshot });
    const whole = await read(false);
    this.#equal("the terminus", whole.terminus, true);
    this.#sameBlocks(whole.miniblocks, blocks);
    this.verified.streams++;
    this.verified.blocks += blocks.length;
    this.verified.snapshots += blocks.filter(hasSnapshot).length;
    this.verified.bytes += total(blocks);
    this.#sameBlocks(
      (await read(true)).miniblocks,
      blocks.map(({ snapshot: _omitted, ...block }) => block),
    );
  }

  /** Reads all blocks one by one. */
  async pages(): Promise<void> {
    const [from, to] = this.#bounds();
    const found: MiniblockDescriptor[] = [];
    for await (
      const block of this.#storage.streamMiniblocks(this.#streamId, from, to)
    ) found.push(block);
    this.#sameBlocks(found, this.#expected.blocks);
  }

  /** Reads what a node loads. */
  async fromLastSnapshot(preceding: number): Promise<void> {
    const { blocks, latestSnapshot, minipool } = this.#expected;
    const found = await this.#storage.readStreamFromLastSnapshot(
      this.#streamId,
      preceding,
    );
    const latest = blocks.findIndex(({ number }) => number === latestSnapshot);
    const first = Math.max(0, latest - preceding);
    this.#equal(
      "the offset of the snapshot",
      found.snapshotMiniblockOffset,
      latest - first,
    );
    this.#sameBlocks(found.miniblocks, blocks.slice(first));
    const events = found.minipoolEnvelopes;
    this.#equal(
      "the number of minipool events",
      events.length,
      minipool.length,
    );
    events.forEach((event, slot) =>
      this.#sameBytes(`minipool event ${slot}`, event, minipool[slot]!)
    );
    if (preceding > 0) return; // these blocks were counted before
    this.verified.minipoolEvents += minipool.length;
    this.verified.bytes += total(minipool);
  }

  /** Reads the candidates. Those of promoted blocks must be gone. */
  async candidates(): Promise<void> {
    const { candidates, blocks } = this.#expected;
    const last = blocks.at(-1)!.number;
    for (const number of [last, last + 1n, last + 2n]) {
      const count = await this.#storage.getMiniblockCandidateCount(
        this.#streamId,
        number,
      );
      const written = candidates.filter((one) => one.number === number).length;
      this.#equal(
        `the number of candidates for block ${number}`,
        count,
        written,
      );
    }
    for (const candidate of candidates) {
      const { hash, number } = candidate;
      const found = await this.#storage.readMiniblockCandidate(
        this.#streamId,
        hash,
        number,
      );
      const name = `a candidate for block ${number}`;
      this.#sameBlock(name, found, candidate);
      this.#sameBytes(
        `the hash of ${name}`,
        found.hash ?? new Uint8Array(),
        hash,
      );
    }
    this.verified.candidates += candidates.length;
    this.verified.bytes += total(candidates);
  }

  /**
   * Reads what the storage reports of the stream without reading its blocks.
   */
  async numbers(): Promise<void> {
    const { blocks, state } = this.#expected;
    const last = await this.#storage.getLastMiniblockNumber(this.#streamId);
    this.#equal("the last block's number", last, blocks.at(-1)!.number);
    const ephemeral = await this.#storage.isStreamEphemeral(this.#streamId);
    this.#equal("whether it is ephemeral", ephemeral, state === "ephemeral");
    const ranges = await this.#storage.getMiniblockNumberRanges(this.#streamId);
    this.#equal("the runs of blocks", ranges.map(nameOf).join(), this.#runs());
    if (!ephemeral) return;
    const stored = await this.#storage.readEphemeralMiniblockNums(
      this.#streamId,
    );
    const numbers = blocks.map(({ number }) => number);
    this.#equal("the numbers of chunks", stored.join(), numbers.join());
  }

  /** Names the runs that must be there; every history is one run. */
  #runs(): string {
    const { blocks } = this.#expected;
    return nameOf({
      startInclusive: blocks[0]!.number,
      endInclusive: blocks.at(-1)!.number,
      snapshotSeqNums: blocks
        .filter((block) => hasSnapshot(block) || block.hasLegacySnapshot)
        .map(({ number }) => number),
    });
  }

  #bounds(): [from: bigint, to: bigint] {
    const { blocks } = this.#expected;
    return [blocks[0]!.number, blocks.at(-1)!.number + 1n];
  }

  #sameBlocks(
    found: readonly MiniblockDescriptor[],
    written: readonly MiniblockDescriptor[],
  ): void {
    const numbers = (blocks: readonly MiniblockDescriptor[]) =>
      blocks.map(({ number }) => number).join();
    this.#equal("the numbers of blocks", numbers(found), numbers(written));
    found.forEach((block, index) =>
      this.#sameBlock(`block ${block.number}`, block, written[index]!)
    );
  }

  #sameBlock(
    name: string,
    found: MiniblockDescriptor,
    written: MiniblockDescriptor,
  ): void {
    this.#sameBytes(name, found.data, written.data);
    this.#equal(
      `whether ${name} has a snapshot`,
      hasSnapshot(found),
      hasSnapshot(written),
    );
    if (found.snapshot === undefined || written.snapshot === undefined) return;
    this.#sameBytes(
      `the snapshot of ${name}`,
      found.snapshot,
      written.snapshot,
    );
  }

  #sameBytes(name: string, found: Uint8Array, written: Uint8Array): void {
    const index = firstDifference(found, written);
    if (index !== undefined) {
      this.#fail(
        `Reading ${name} must give what was written, it differs at byte ${index} of ${written.length}`,
      );
    }
    this.verified.bytesRead += found.length;
  }

  #equal(
    name: string,
    found: string | number | bigint | boolean,
    written: string | number | bigint | boolean,
  ): void {
    if (found !== written) {
      this.#fail(`Reading ${name} must give ${written}, received ${found}`);
    }
  }

  #fail(what: string): never {
    throw new VerificationError(what, this.#streamId);
  }
}

/** Checks that the storage lists exactly the streams that must be there. */
async function verifyList(
  storage: StreamStorage,
  expected: readonly ExpectedStream[],
): Promise<void> {
  const written = expected.filter(({ state }) => state !== "deleted")
    .map(({ streamId }) => streamId).sort();
  const found: StreamId[] = [];
  for (;;) {
    const after = found.at(-1);
    const page = await storage.getStreams({
      limit: 10,
      ...(after && { after }),
    });
    found.push(...page);
    if (page.length < 10) break;
  }
  const number = await storage.getStreamsNumber();
  if (number !== written.length || found.join() !== written.join()) {
    throw new VerificationError(
      `The storage must list the ${written.length} streams written, received ${found.length} and the number ${number}`,
    );
  }
}

function hasSnapshot({ snapshot }: MiniblockDescriptor): boolean {
  return snapshot !== undefined;
}

function nameOf(range: MiniblockRange): string {
  const { startInclusive, endInclusive, snapshotSeqNums } = range;
  return `${startInclusive}-${endInclusive} (${snapshotSeqNums.join(" ")})`;
}

function total(parts: readonly (Uint8Array | MiniblockDescriptor)[]): number {
  return parts.reduce((sum, part) => sum + sizeOf(part), 0);
}

/** Adds up all counts. */
export function sumOf(counts: readonly Verified[]): Verified {
  const sum = nothingVerified();
  for (const each of counts) {
    for (const key of Object.keys(sum) as (keyof Verified)[]) {
      sum[key] += each[key];
    }
  }
  return sum;
}

function nothingVerified(): Verified {
  return {
    streams: 0,
    blocks: 0,
    snapshots: 0,
    minipoolEvents: 0,
    candidates: 0,
    bytes: 0,
    bytesRead: 0,
  };
}
