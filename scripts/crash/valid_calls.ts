/** Picks calls at random that a stream's state allows. */
import type { StreamId } from "../../mod.ts";
import type { Random } from "../../tests/support/random.ts";
import type { BlockIds, Operation, State } from "./operation.ts";

/** How often which calls are picked. Shares are in percent. */
export interface Mix {
  /** The share of deletions. From `longBlocks` blocks on, it is a half. */
  deletions: number;
  longBlocks: number;
  /** The share of swaps among the other calls. */
  swaps: number;
  /** The share of candidates among the rest; the others are events. */
  candidates: number;
  /** The number of the last chunk of an upload. */
  lastChunk: number;
  /** How many at most are made at once, or in one swap. */
  atOnce: {
    blocks: number;
    candidates: number;
    events: number;
    chunks: number;
  };
}

/** Picks calls, and numbers them and their payloads. */
export class ValidCalls {
  readonly #random: Random;
  readonly #mix: Mix;
  #nextId: number;

  constructor(random: Random, firstId: number, mix: Mix) {
    this.#random = random;
    this.#nextId = firstId;
    this.#mix = mix;
  }

  /** A number that was not used yet. */
  nextId(): number {
    return this.#nextId++;
  }

  /** Picks calls that are valid in this state, one after another. */
  next(stream: StreamId, state: State): Operation[] {
    const random = this.#random;
    const { deletions, longBlocks, swaps, candidates, atOnce } = this.#mix;
    if (stream.startsWith("ff")) return this.#chunks(stream, state);
    if (state === undefined) {
      return [{ stream, kind: "create", block: this.#blockIds() }];
    }
    if (random.chance(state.blocks.length > longBlocks ? 50 : deletions)) {
      return [{ stream, kind: "delete" }];
    }
    const [generation, events] = state.minipool!;
    if (random.chance(swaps)) {
      return [{
        stream,
        kind: "blocks",
        first: generation,
        blocks: this.#some(1, atOnce.blocks, () => this.#blockIds()),
        size: events.length,
        events: this.#some(0, atOnce.events, () => this.nextId()),
      }];
    }
    if (random.chance(candidates)) {
      return this.#some(1, atOnce.candidates, (i) => ({
        stream,
        kind: "candidate",
        number: generation + (i % 2),
        id: this.nextId(),
      }));
    }
    return this.#some(1, atOnce.events, (i) => ({
      stream,
      kind: "event",
      generation,
      slot: events.length + i,
      id: this.nextId(),
    }));
  }

  #chunks(stream: StreamId, state: State): Operation[] {
    const { lastChunk, atOnce } = this.#mix;
    const number = (state?.blocks.at(-1)?.[0] ?? -1) + 1;
    if (number > lastChunk) return [{ stream, kind: "delete" }];
    return this.#some(1, atOnce.chunks, (i) => ({
      stream,
      kind: "chunk",
      number: number + i,
      id: this.nextId(),
    }));
  }

  #some<T>(least: number, most: number, make: (i: number) => T): T[] {
    const length = this.#random.between(least, most);
    return Array.from({ length }, (_, i) => make(i));
  }

  #blockIds(): BlockIds {
    return [this.nextId(), this.#random.chance(30) ? this.nextId() : 0];
  }
}
