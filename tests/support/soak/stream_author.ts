import assert from "node:assert/strict";
import type { Random } from "../random.ts";
import type { MiniblockDescriptor } from "../../../src/storage/model.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import {
  assertFails,
  bytes,
  hashOf,
  newStreamId,
} from "../../../src/testing/contract/support.ts";

/** The soak's quotas, by which the author knows what to expect. */
export const soakQuotas = {
  minipoolEvents: 40,
  minipoolBytes: 10_000,
  candidatesPerHeight: 3,
  blocksSinceSnapshot: 60,
};

/**
 * The only writer of a stream. It knows what must be stored: every acknowledged
 * write, except old blocks that the trimmer may remove.
 */
export class StreamAuthor {
  readonly id: StreamId = newStreamId("channel");
  readonly #random: Random;
  /** The number of streams that this id has had. */
  #life = 0;
  last = -1n;
  latest = 0n;
  #events: Uint8Array[] = [];
  #payloads = 0;
  /** The number of checks made. */
  checks = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Takes one random step. */
  async step(storage: StreamStorage): Promise<void> {
    const random = this.#random;
    if (this.last < 0n) return await this.#create(storage);
    const roll = random.between(0, 99);
    if (roll < 35) await this.#writeEvents(storage);
    else if (roll < 75) await this.#writeBlocks(storage);
    else if (roll < 82) await this.#writeCandidates(storage);
    else if (roll < 94) await this.check(storage);
    else if (roll < 97) await this.#rebuild(storage);
    else if (roll < 98) await this.#backfill(storage);
    else await this.#remove(storage);
  }

  /** Checks that reads return what was acknowledged. */
  async check(storage: StreamStorage): Promise<void> {
    if (this.last < 0n) return;
    const preceding = this.#random.between(0, 20);
    const view = await storage.readStreamFromLastSnapshot(this.id, preceding);
    const { miniblocks, snapshotMiniblockOffset, minipoolEnvelopes } = view;
    const marked = miniblocks[snapshotMiniblockOffset]!;
    assert.equal(marked.number, this.latest);
    if (this.latest > 0n) assert.ok(marked.snapshot, "no latest snapshot");
    this.#checkRun(miniblocks);
    assert.deepEqual(minipoolEnvelopes, this.#events);
    const [range, ...others] = await storage.getMiniblockNumberRanges(this.id);
    assert.deepEqual(others, [], "more than one run");
    const stored = await storage.readMiniblocks(
      this.id,
      range!.startInclusive,
      this.last + 1n,
    ).catch((error) => {
      // The trimmer has removed them meanwhile.
      if (error.code !== "MINIBLOCKS_NOT_FOUND") throw error;
      return { miniblocks };
    });
    this.#checkRun(stored.miniblocks);
    this.checks++;
  }

  #checkRun(miniblocks: readonly MiniblockDescriptor[]): void {
    let due = this.last - BigInt(miniblocks.length) + 1n;
    for (const { number, data, snapshot } of miniblocks) {
      assert.equal(number, due++);
      assert.deepEqual(data, this.#dataOf(number));
      if (snapshot) assert.deepEqual(snapshot, this.#snapshotOf(number));
    }
  }

  #dataOf(number: bigint): Uint8Array {
    return bytes(`block ${number} of life ${this.#life} of ${this.id}`);
  }

  #snapshotOf(number: bigint): Uint8Array {
    return bytes(`snapshot ${number} of life ${this.#life}`);
  }

  #block(number: bigint, hasSnapshot: boolean): MiniblockDescriptor {
    const data = this.#dataOf(number);
    return hasSnapshot
      ? { number, data, snapshot: this.#snapshotOf(number) }
      : { number, data };
  }

  #payload(): Uint8Array {
    return bytes(`event ${this.#payloads++}`);
  }

  async #create(storage: StreamStorage): Promise<void> {
    await storage.createStreamStorage(this.id, this.#block(0n, true));
    this.last = 0n;
    this.latest = 0n;
    this.#events = [];
  }

  async #remove(storage: StreamStorage): Promise<void> {
    await storage.deleteStream(this.id);
    this.last = -1n;
    this.#life++;
  }

  async #writeEvents(storage: StreamStorage): Promise<void> {
    const room = soakQuotas.minipoolEvents - this.#events.length;
    if (room === 0) {
      await assertFails(
        storage.writeEvent(
          this.id,
          this.last + 1n,
          this.#events.length,
          this.#payload(),
        ),
        { code: "RESOURCE_EXHAUSTED", reason: "minipool_events_quota" },
      );
      return;
    }
    const count = Math.min(room, this.#random.between(1, 6));
    const added = Array.from({ length: count }, () => this.#payload());
    await Promise.all(added.map((envelope, i) =>
      storage.writeEvent(
        this.id,
        this.last + 1n,
        this.#events.length + i,
        envelope,
      )
    ));
    this.#events.push(...added);
  }

  async #writeBlocks(storage: StreamStorage): Promise<void> {
    const random = this.#random;
    const count = random.chance(10)
      ? random.between(10, 30)
      : random.between(1, 3);
    const every = random.between(1, 8);
    const first = this.last + 1n;
    const end = first + BigInt(count) - 1n;
    const isFar = end - this.latest > BigInt(soakQuotas.blocksSinceSnapshot);
    const blocks = Array.from({ length: count }, (_, i) => {
      const number = first + BigInt(i);
      const isLast = i === count - 1;
      return this.#block(
        number,
        isLast && isFar || random.between(1, every * 2) === 1,
      );
    });
    const envelopes = random.chance(20) ? [this.#payload()] : [];
    await storage.writeMiniblocks(
      this.id,
      blocks,
      { generation: end + 1n, envelopes },
      { generation: first, size: this.#events.length },
    );
    this.#follow(blocks);
    this.#events = envelopes;
  }

  #follow(blocks: readonly MiniblockDescriptor[]): void {
    this.last = blocks.at(-1)!.number;
    const marked = blocks.findLast(({ snapshot }) => snapshot);
    if (marked !== undefined) this.latest = marked.number;
  }

  async #writeCandidates(storage: StreamStorage): Promise<void> {
    const number = this.last + 1_000n + BigInt(this.#payloads++);
    const write = (nth: number) =>
      storage.writeMiniblockCandidate(this.id, {
        number,
        data: bytes("candidate"),
        hash: hashOf(`${number} ${nth}`),
      });
    const { candidatesPerHeight } = soakQuotas;
    for (let nth = 0; nth < candidatesPerHeight; nth++) await write(nth);
    await assertFails(write(candidatesPerHeight), {
      code: "RESOURCE_EXHAUSTED",
      reason: "candidates_quota",
    });
  }

  async #rebuild(storage: StreamStorage): Promise<void> {
    const first = this.last + 1n;
    const blocks = [this.#block(first, true), this.#block(first + 1n, true)];
    const { id } = this;
    await storage.reinitializeStreamStorage(id, blocks, first + 1n, true);
    this.#follow(blocks);
    this.#events = [];
  }

  /** Adds blocks right before the stored ones, or the trimmer would find a gap. */
  async #backfill(storage: StreamStorage): Promise<void> {
    if (this.latest >= this.last) return;
    await storage.writePrecedingMiniblocks(this.id, [
      this.#block(this.latest, this.latest > 0n),
    ]);
  }
}
