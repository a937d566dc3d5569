import type {
  MiniblockDescriptor,
  StreamId,
  StreamStorage,
  StreamType,
} from "../../mod.ts";
import { streamType } from "../../mod.ts";
import { firstDifference, sizeOf } from "./bytes.ts";
import { eventEnvelope, miniblock, snapshotBytes } from "./protocol_bytes.ts";
import type { Random } from "../../tests/support/random.ts";

/** One thing that happens to a stream. */
export interface Step {
  /** How many events it adds to the minipool. */
  events: number;
  /** How many bytes it writes. */
  bytes: number;
  /** Makes the calls. */
  run(storage: StreamStorage): Promise<unknown>;
}

/** A block with its hash. */
export type AuthoredBlock = MiniblockDescriptor & { hash: Uint8Array };

/** What the storage must hold of a stream after its last step. */
export interface ExpectedStream {
  streamId: StreamId;
  state: "regular" | "ephemeral" | "archive" | "deleted";
  /** Ascending. */
  blocks: AuthoredBlock[];
  latestSnapshot: bigint;
  minipool: Uint8Array[];
  candidates: AuthoredBlock[];
}

/** What happens to a stream, and what is stored at the end. */
export interface StreamHistory {
  steps: Step[];
  expected: ExpectedStream;
  /** What is special about the stream. */
  note?: string;
}

/** How large the messages of a stream are, in bytes, at least and at most. */
export interface Sizes {
  event: [min: number, max: number];
  snapshot: [min: number, max: number];
}

/**
 * Invents what happens to one stream, step by step, and remembers what must be
 * stored afterwards. It makes no call before the steps run.
 */
export class StreamAuthor {
  readonly #streamId: StreamId;
  readonly #type: StreamType;
  readonly #random: Random;
  readonly #sizes: Sizes;
  readonly #steps: Step[] = [];
  readonly #expected: ExpectedStream;
  #lastHash: Uint8Array;

  constructor(streamId: StreamId, random: Random, sizes: Sizes) {
    this.#streamId = streamId;
    this.#type = streamType(streamId);
    this.#random = random;
    this.#sizes = sizes;
    this.#lastHash = new Uint8Array(32);
    this.#expected = {
      streamId,
      state: "regular",
      blocks: [],
      latestSnapshot: 0n,
      minipool: [],
      candidates: [],
    };
  }

  /** Returns the steps so far; `note` says what is special about the stream. */
  history(note?: string): StreamHistory {
    return {
      steps: this.#steps,
      expected: this.#expected,
      ...(note !== undefined && { note }),
    };
  }

  /** The number of the next block. */
  get generation(): bigint {
    return (this.#expected.blocks.at(-1)?.number ?? -1n) + 1n;
  }

  /** Makes the block that follows the last one, without writing it. */
  makeBlock(
    number: bigint,
    events: readonly Uint8Array[],
    withSnapshot: boolean,
  ): AuthoredBlock {
    const [min, max] = this.#sizes.snapshot;
    const snapshot = withSnapshot
      ? snapshotBytes(this.#random, this.#random.mostlySmall(min, max))
      : undefined;
    const { data, hash } = miniblock(this.#random, {
      number,
      previousHash: this.#lastHash,
      events,
      snapshot,
    });
    this.#lastHash = hash;
    return { number, data, hash, ...(snapshot && { snapshot }) };
  }

  /**
   * Makes blocks of new events, with a snapshot in every `snapshotEvery`th of
   * them.
   */
  makeBlocks(
    first: bigint,
    count: number,
    snapshotEvery: bigint,
  ): AuthoredBlock[] {
    return Array.from({ length: count }, (_, index) => {
      const number = first + BigInt(index);
      const events = this.#makeEvents(this.#random.between(1, 5));
      return this.makeBlock(number, events, number % snapshotEvery === 0n);
    });
  }

  /** The stream is created with a genesis that has a snapshot. */
  create(): void {
    const genesis = this.makeBlock(0n, this.#makeEvents(1), true);
    this.#append([genesis]);
    this.#step(
      [genesis],
      (storage) => storage.createStreamStorage(this.#streamId, genesis),
    );
  }

  /** Events arrive at the same time. */
  receive(count: number): void {
    const { generation } = this;
    const { minipool } = this.#expected;
    const events = this.#makeEvents(count);
    const writes = events.map((envelope, index) => ({
      envelope,
      slot: minipool.length + index,
    }));
    minipool.push(...events);
    const streamId = this.#streamId;
    this.#step(
      events,
      (storage) =>
        Promise.all(
          writes.map(({ slot, envelope }) =>
            storage.writeEvent(streamId, generation, slot, envelope)
          ),
        ),
    );
  }

  /**
   * A node proposes a block that is not the next one, and that stays a
   * candidate.
   */
  proposeAhead(): void {
    const lastHash = this.#lastHash;
    const events = this.#makeEvents(2);
    const candidate = this.makeBlock(this.generation + 1n, events, false);
    this.#lastHash = lastHash;
    this.#propose(candidate);
  }

  /**
   * A node proposes a block of the minipool's events, reads it back and
   * promotes it. Sometimes there is another candidate, and sometimes events
   * come too late for it.
   */
  produceBlock(withSnapshot: boolean): void {
    const { generation } = this;
    const { minipool } = this.#expected;
    const size = minipool.length;
    const late = size > 1 && this.#random.chance(20) ? minipool.slice(-1) : [];
    const events = minipool.slice(0, size - late.length);
    const lastHash = this.#lastHash;
    if (this.#random.chance(15)) {
      this.#propose(this.makeBlock(generation, events, false));
      this.#lastHash = lastHash;
    }
    const block = this.makeBlock(generation, events, withSnapshot);
    this.#propose(block);
    this.#append([block]);
    this.#expected.minipool = [...late];
    const streamId = this.#streamId;
    const next = { generation: generation + 1n, envelopes: late };
    this.#step([block], async (storage) => {
      const { hash, number } = block;
      const read = await storage.readMiniblockCandidate(streamId, hash, number);
      const previous = { generation, size };
      await storage.writeMiniblocks(streamId, [read], next, previous);
    });
  }

  /** Blocks that other nodes produced arrive together. */
  catchUp(count: number, snapshotEvery: bigint): void {
    const { generation } = this;
    const blocks = this.makeBlocks(generation, count, snapshotEvery);
    this.#append(blocks);
    this.#expected.minipool = [];
    const next = { generation: this.generation, envelopes: [] };
    this.#step(
      blocks,
      (storage) =>
        storage.writeMiniblocks(this.#streamId, blocks, next, { generation }),
    );
  }

  /** The stream moves to this node as blocks, from a snapshot on. */
  rebuild(blocks: AuthoredBlock[], snapshot: bigint): void {
    this.#append(blocks);
    this.#expected.latestSnapshot = snapshot;
    this.#step(
      blocks,
      (storage) =>
        storage.reinitializeStreamStorage(
          this.#streamId,
          blocks,
          snapshot,
          false,
        ),
    );
  }

  /** Blocks before the first stored one arrive. */
  backfill(blocks: AuthoredBlock[]): void {
    this.#expected.blocks.unshift(...blocks);
    this.#step(
      blocks,
      (storage) => storage.writePrecedingMiniblocks(this.#streamId, blocks),
    );
  }

  /** An archiver keeps the stream, in pages of blocks. */
  archive(pages: number, blocksInPage: number): void {
    const streamId = this.#streamId;
    this.#expected.state = "archive";
    this.#step([], (storage) => storage.createStreamArchiveStorage(streamId));
    for (let page = 0; page < pages; page++) {
      const { generation } = this;
      const blocks = this.makeBlocks(generation, blocksInPage, 10n);
      this.#expected.blocks.push(...blocks);
      this.#step(
        blocks,
        (storage) =>
          storage.writeArchiveMiniblocks(streamId, generation, blocks),
      );
    }
  }

  /** A node uploads a media file's chunks in this order, block 0 included. */
  upload(blocks: AuthoredBlock[]): void {
    this.#expected.state = "ephemeral";
    this.#expected.blocks = blocks.toSorted((a, b) =>
      Number(a.number - b.number)
    );
    blocks.forEach((block, index) =>
      this.#step(
        [block],
        (storage) =>
          index === 0 && block.number === 0n
            ? storage.createEphemeralStreamStorage(this.#streamId, block)
            : storage.writeEphemeralMiniblock(this.#streamId, block),
      )
    );
  }

  /** The upload is complete; its genesis has this hash. */
  seal(headerHash: Uint8Array): void {
    this.#expected.state = "regular";
    this.#step([], async (storage) => {
      const hash = await storage.normalizeEphemeralStream(this.#streamId);
      if (firstDifference(hash, headerHash) !== undefined) {
        throw new Error(
          `Sealing stream ${this.#streamId} returned another genesis hash`,
        );
      }
    });
  }

  /**
   * The node trims old blocks and clears the snapshot before the latest one.
   */
  trim(): void {
    const { blocks, latestSnapshot } = this.#expected;
    const older = blocks.filter(({ number, snapshot }) =>
      snapshot !== undefined && number < latestSnapshot
    );
    const cleared = older.at(-1);
    const first = older.at(-2)?.number;
    if (cleared === undefined || first === undefined) {
      throw new Error("Trimming needs three blocks with a snapshot");
    }
    const { snapshot: _cleared, ...rest } = cleared;
    this.#expected.blocks = blocks
      .filter(({ number }) => number >= first)
      .map((block) => block === cleared ? rest : block);
    this.#step(
      [],
      (storage) => storage.trimStream(this.#streamId, first, [cleared.number]),
    );
  }

  /** The node deletes the stream. */
  delete(): void {
    this.#expected.state = "deleted";
    this.#step([], (storage) => storage.deleteStream(this.#streamId));
  }

  #makeEvents(count: number): Uint8Array[] {
    const [min, max] = this.#sizes.event;
    return Array.from(
      { length: count },
      () =>
        eventEnvelope(
          this.#random,
          this.#type,
          this.#random.mostlySmall(min, max),
        ),
    );
  }

  #propose(candidate: AuthoredBlock): void {
    this.#expected.candidates.push(candidate);
    this.#step(
      [candidate],
      (storage) => storage.writeMiniblockCandidate(this.#streamId, candidate),
    );
  }

  /** Adds blocks at the end, which removes the candidates for them. */
  #append(blocks: readonly AuthoredBlock[]): void {
    const expected = this.#expected;
    expected.blocks.push(...blocks);
    expected.latestSnapshot =
      blocks.findLast(({ snapshot }) => snapshot !== undefined)?.number ??
        expected.latestSnapshot;
    expected.candidates = expected.candidates.filter(({ number }) =>
      number >= this.generation
    );
  }

  #step(
    written: readonly (Uint8Array | AuthoredBlock)[],
    run: Step["run"],
  ): void {
    this.#steps.push({
      events: written.filter((part) => part instanceof Uint8Array).length,
      bytes: written.reduce((sum, part) => sum + sizeOf(part), 0),
      run,
    });
  }
}
