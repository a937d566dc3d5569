/**
 * The numbers themselves. They are plain, so that counting costs next to
 * nothing and the Prometheus text needs no SDK; each is recorded once, and
 * OpenTelemetry gets it from there (registry.ts). Only a histogram hands every
 * value on at once, its instruments know no other way.
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

  /** Adds a number, not a negative one. */
  add(number = 1): void {
    this.#value += number;
  }

  /**
   * What was added since the last time; undefined if nothing was. At first it
   * is at least 0: rates begin with the first number that a collector sees.
   */
  take(): number | undefined {
    if (this.#taken === this.#value) return undefined;
    const added = this.#value - (this.#taken ?? 0);
    this.#taken = this.#value;
    return added;
  }
}

/** How the values of a histogram are spread. */
export interface HistogramValue {
  /** Upper bounds of the buckets; the last bucket, above them, has none. */
  readonly bounds: readonly number[];
  /** How many values fell into each bucket, one more than bounds. */
  readonly counts: readonly number[];
  /** Of all values. */
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

/** A number, and what it is the number of. */
export interface Reading {
  readonly attributes: Attributes;
  readonly value: number;
}

/** Numbers that are looked up when somebody asks, as many as there are then. */
export class Gauge {
  readonly read: () => readonly Reading[];

  constructor(read: () => readonly Reading[]) {
    this.read = read;
  }
}
