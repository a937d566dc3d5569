/** Adds up the sizes of streams, and remembers the largest streams. */

import type { StreamType } from "../../storage/stream_id.ts";
import { bytesOf, type StreamSizes } from "../streams/sizes.ts";
import { reasonOf } from "./reason.ts";
import type { LargeStream, SampleError, TypeUsage } from "./types.ts";

const none: Omit<TypeUsage, "type"> = {
  streams: 0,
  blocks: 0,
  blockBytes: 0,
  snapshots: 0,
  snapshotBytes: 0,
  events: 0,
  minipoolBytes: 0,
  candidates: 0,
  candidateBytes: 0,
  oldBytes: 0,
  outsideBlocks: 0,
  outsideBytes: 0,
};

const summed = Object.keys(none).filter((name) =>
  name !== "streams"
) as Exclude<
  keyof typeof none,
  "streams"
>[];

/** The payload in the database. */
export function payloadOf(
  { blockBytes, snapshotBytes, minipoolBytes, candidateBytes }: Omit<
    TypeUsage,
    "type"
  >,
): number {
  return blockBytes + snapshotBytes + minipoolBytes + candidateBytes;
}

/** See the file's head. */
export class Tally {
  readonly #types = new Map<StreamType, TypeUsage>();
  readonly #top: number;
  #largest: StreamSizes[] = [];
  /** Sums of bytes a stream and of their squares, for the error of a sample. */
  #sum = 0;
  #squares = 0;
  #seen = 0;

  constructor(top: number) {
    this.#top = top;
  }

  /** Counts a page of streams. */
  add(streams: readonly StreamSizes[]): void {
    for (const stream of streams) this.#addOne(stream);
    this.#largest = [...this.#largest, ...streams]
      .sort((a, b) => Number(bytesOf(b) - bytesOf(a)))
      .slice(0, this.#top);
  }

  /** The sums by type, times a factor, the largest first. */
  types(factor: number): TypeUsage[] {
    return [...this.#types.values()]
      .map((usage) => scaled(usage, factor))
      .sort((a, b) => payloadOf(b) - payloadOf(a));
  }

  /** The largest streams that were added. */
  get largest(): LargeStream[] {
    return this.#largest.map((stream) => ({
      ...stream,
      bytes: bytesOf(stream),
      reason: reasonOf(stream),
    }));
  }

  /** The number of streams that were added. */
  get seen(): number {
    return this.#seen;
  }

  /**
   * The error of the sum if the added streams are a sample of `all` streams.
   */
  errorOf(all: number): SampleError {
    const n = this.#seen;
    const mean = n === 0 ? 0 : this.#sum / n;
    const variance = n < 2 ? 0 : (this.#squares - n * mean ** 2) / (n - 1);
    const left = all === 0 ? 0 : Math.max(0, 1 - n / all);
    const deviation = n === 0
      ? 0
      : all * Math.sqrt(Math.max(0, variance) / n * left);
    return {
      streams: n,
      percent: all === 0 ? 100 : Math.round(10_000 * n / all) / 100,
      bytes: Math.round(1.96 * deviation),
    };
  }

  #addOne(stream: StreamSizes): void {
    let usage = this.#types.get(stream.type);
    if (usage === undefined) {
      usage = { type: stream.type, ...none };
      this.#types.set(stream.type, usage);
    }
    usage.streams++;
    for (const name of summed) usage[name] += Number(stream[name]);
    const bytes = Number(bytesOf(stream));
    this.#sum += bytes;
    this.#squares += bytes ** 2;
    this.#seen++;
  }
}

function scaled(usage: TypeUsage, factor: number): TypeUsage {
  const its = { ...usage };
  for (const name of ["streams", ...summed] as const) {
    its[name] = Math.round(its[name] * factor);
  }
  return its;
}

/** Adds up all types. */
export function totalOf(types: readonly TypeUsage[]): Omit<TypeUsage, "type"> {
  const total = { ...none };
  for (const usage of types) {
    for (const name of ["streams", ...summed] as const) {
      total[name] += usage[name];
    }
  }
  return total;
}
