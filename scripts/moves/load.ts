/**
 * Puts full load on one store and checks the results. Each writer adds events
 * to its stream, one after another, and sometimes replaces the minipool by a
 * block. The store refuses an event or a block that does not follow the last
 * one. So the next write, or the check at the end, shows whether an
 * acknowledged write is missing. A reader checks that no read returns less than
 * was acknowledged before it began.
 */
import type {
  PostgresStreamReader,
  PostgresStreamStorage,
  StreamId,
} from "../../mod.ts";
import {
  bytes,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";

/** The acknowledged blocks and events of a stream. */
interface Written {
  streamId: StreamId;
  generation: bigint;
  events: number;
}

/** How many events a minipool has when a block replaces it. */
const eventsOfBlock = 20;

/** See the file's head. */
export class MovesLoad {
  /** How many calls the store has acknowledged. */
  acknowledged = 0;
  /** How many reads the store has answered. */
  reads = 0;
  /** The errors of failed calls. */
  readonly failures: string[] = [];
  /**
   * Acknowledged writes that are missing, and reads that returned too little.
   */
  readonly lost: string[] = [];
  readonly #storage: PostgresStreamStorage;
  readonly #reader: PostgresStreamReader;
  readonly #streams: Written[] = [];
  readonly #ended = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #lastAt = performance.now();
  #longestMs = 0;

  constructor(storage: PostgresStreamStorage, reader: PostgresStreamReader) {
    this.#storage = storage;
    this.#reader = reader;
  }

  /** Makes the streams, and starts the writers and the reader. */
  async start(writers: number): Promise<void> {
    for (let i = 0; i < writers; i++) {
      const streamId = newStreamId();
      await this.#storage.createStreamStorage(streamId, snapshotBlock(0));
      this.#streams.push({ streamId, generation: 1n, events: 0 });
    }
    this.#lastAt = performance.now();
    this.#running = Promise.all([
      ...this.#streams.map((stream) => this.#write(stream)),
      this.#read(this.#storage, "store"),
      this.#read(this.#reader, "reader"),
    ]);
  }

  /**
   * Returns the longest time without an acknowledgement since the last call.
   */
  takePause(): number {
    this.#seen();
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return longest;
  }

  /** Ends the load, and checks that everything is stored. */
  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#running;
    for (const stream of this.#streams) await this.#look(stream);
  }

  get #isOver(): boolean {
    return this.#ended.signal.aborted;
  }

  #seen(): void {
    const now = performance.now();
    this.#longestMs = Math.max(this.#longestMs, now - this.#lastAt);
    this.#lastAt = now;
  }

  async #write(stream: Written): Promise<void> {
    while (!this.#isOver) {
      try {
        await this.#writeNext(stream);
        this.acknowledged++;
        this.#seen();
      } catch (error) {
        this.failures.push(textOf(error));
        // The outcome is unknown, so the check could not know it either.
        return;
      }
    }
  }

  async #writeNext(stream: Written): Promise<void> {
    const { streamId, generation, events } = stream;
    if (events < eventsOfBlock) {
      const event = bytes(`${generation}:${events} ${"x".repeat(200)}`);
      await this.#storage.writeEvent(streamId, generation, events, event);
      stream.events++;
      return;
    }
    await this.#storage.writeMiniblocks(
      streamId,
      [snapshotBlock(generation)],
      { generation: generation + 1n, envelopes: [] },
      { generation, size: events },
    );
    stream.generation++;
    stream.events = 0;
  }

  async #read(
    from: PostgresStreamReader | PostgresStreamStorage,
    name: string,
  ): Promise<void> {
    for (let nth = 0; !this.#isOver; nth++) {
      const stream = this.#streams[nth % this.#streams.length]!;
      const { streamId, generation, events } = stream;
      try {
        const read = await from.readStreamFromLastSnapshot(streamId, 0);
        const last = read.miniblocks.at(-1)!.number;
        const found = read.minipoolEnvelopes.length;
        const isOld = last + 1n < generation ||
          (last + 1n === generation && found < events);
        if (isOld) {
          this.lost.push(
            `${name} read ${
              last + 1n
            }:${found}, ${generation}:${events} were ` +
              "acknowledged before",
          );
        }
        this.reads++;
      } catch (error) {
        this.failures.push(`${name}: ${textOf(error)}`);
      }
    }
  }

  async #look({ streamId, generation, events }: Written): Promise<void> {
    const { miniblocks } = await this.#storage.readMiniblocks(
      streamId,
      0n,
      generation + 1n,
    );
    const { minipoolEnvelopes } = await this.#storage
      .readStreamFromLastSnapshot(streamId, 0);
    const blocks = BigInt(miniblocks.length);
    if (blocks < generation || blocks > generation + 1n) {
      this.lost.push(`${blocks} blocks of ${generation}`);
    }
    if (blocks === generation && minipoolEnvelopes.length < events) {
      this.lost.push(`${minipoolEnvelopes.length} events of ${events}`);
    }
  }
}

function textOf(error: unknown): string {
  return `${(error as Error).name}: ${(error as Error).message}`;
}
