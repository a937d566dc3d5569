/**
 * The numbers themselves. They are plain values, so that counting costs next to
 * nothing and the Prometheus text needs no SDK. Each is recorded once, and
 * OpenTelemetry reads it from here (registry.ts). Only a histogram passes every
 * value on at once, because OpenTelemetry's histograms accept nothing else.
 */

import type {
  Attributes,
  Histogram as OtelHistogram,
} from "@opentelemetry/api";

/** A sum that only grows. */
export class Counter {
  readonly attributes: Attributes;
  #value = 0;
  #taken: number | undefined;

  constructor(attributes: Attributes) {
    this.attributes = attributes;
  }

  get value(): number {
    return this.#value;
  }

  /** Adds a number of 0 or more. */
  add(number = 1): void {
    this.#value += number;
  }

  /**
   * What was added since the last call, if anything. The first call returns at
   * least 0, because rates begin with the first number that a collector sees.
   */
  take(): number | undefined {
    if (this.#taken === this.#value) return undefined;
    const added = this.#value - (this.#taken ?? 0);
    this.#taken = this.#value;
    return added;
  }
}

/** The distribution of a histogram's values. */
export interface HistogramValue {
  /** Upper bounds of the buckets; the last bucket, above them, has none. */
  readonly bounds: readonly number[];
  /** The number of values in each bucket; one more entry than `bounds`. */
  readonly counts: readonly number[];
  /** The sum of all values. */
  readonly sum: number;
}

/** Values, counted by size. */
export class Histogram {
  readonly attributes: Attributes;
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  readonly #otel: OtelHistogram | undefined;
  #sum = 0;

  constructor(
    attributes: Attributes,
    bounds: readonly number[],
    otel: OtelHistogram | undefined,
  ) {
    this.attributes = attributes;
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
    this.#otel = otel;
  }

  get value(): HistogramValue {
    return {
      bounds: this.#bounds,
      counts: [...this.#counts],
      sum: this.#sum,
    };
  }

  record(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.#counts[bucket]!++;
    this.#sum += value;
    this.#otel?.record(value, this.attributes);
  }
}

/** A number and its attributes. */
export interface Reading {
  readonly attributes: Attributes;
  readonly value: number;
}

/** Numbers that are looked up at each collection, however many there are. */
export class Gauge {
  readonly read: () => readonly Reading[];

  constructor(read: () => readonly Reading[]) {
    this.read = read;
  }
}
