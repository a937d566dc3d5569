import type {
  Attributes,
  BatchObservableResult,
  Counter as OtelCounter,
  Histogram as OtelHistogram,
  Meter,
  Observable,
} from "@opentelemetry/api";
import {
  Counter,
  Gauge,
  Histogram,
  type HistogramValue,
  type Reading,
} from "./instruments.ts";
import { type MetricDefinition, metrics, scopeName } from "./names.ts";
import { openTelemetry } from "./open_telemetry.ts";

/** One number of a metric. */
export interface MetricSample {
  /** The attributes of the number. */
  readonly attributes: Readonly<Record<string, string | number>>;
  /** The number, or the distribution of a histogram. */
  readonly value: number | HistogramValue;
}

/** A metric with all its numbers, at one moment. */
export interface MetricFamily {
  /** From the table of metrics. */
  readonly definition: MetricDefinition;
  /** One for each combination of attributes that is known or has occurred. */
  readonly samples: readonly MetricSample[];
}

type Series = Counter | Histogram | Gauge;

interface Family {
  definition: MetricDefinition;
  series: Map<string, Series>;
  otel: OtelCounter | OtelHistogram | Observable | undefined;
}

/**
 * The metrics of one store.
 *
 * When OpenTelemetry collects, one callback reports gauges and counters: gauges
 * are looked up, counters report what was added since the last time. The
 * counters are still ordinary instruments, not observable ones: after `close`
 * those would be missing from the next collection, with all that was counted
 * since the last one.
 *
 * A host must install its SDK before it opens the store: until then there are
 * no instruments, or instruments that do nothing, and they stay so.
 */
export class Registry {
  readonly #common: Attributes;
  readonly #meter: Meter | undefined = openTelemetry()?.metrics
    .getMeter(scopeName);
  readonly #families = new Map<MetricDefinition, Family>();
  readonly #observables: Observable[] = [];
  #onRead: () => void = () => {};
  /** Makes the series that are known before anything happens. */
  #expected: (() => void)[] = [];
  readonly #onCollect = (result: BatchObservableResult) =>
    this.#collect(result);

  /** `common` are the attributes of every number. */
  constructor(common: Attributes) {
    this.#common = common;
    for (const definition of Object.values<MetricDefinition>(metrics)) {
      const otel = this.#meter && instrumentOf(this.#meter, definition);
      this.#families.set(definition, { definition, series: new Map(), otel });
      if (definition.kind === "updowncounter") {
        this.#observables.push(otel as Observable);
      }
    }
    this.#meter?.addBatchObservableCallback(this.#onCollect, this.#observables);
  }

  /** Returns the counter with these attributes, the same at every call. */
  counter(definition: MetricDefinition, attributes: Attributes): Counter {
    return this.#series(definition, attributes, (all) => new Counter(all));
  }

  /** Returns the histogram with these attributes, the same at every call. */
  histogram(definition: MetricDefinition, attributes: Attributes): Histogram {
    return this.#series(definition, attributes, (all, { otel }) => {
      const { buckets = [] } = definition;
      return new Histogram(all, buckets, otel as OtelHistogram | undefined);
    });
  }

  /** Registers a number that is looked up at each collection. */
  gauge(
    definition: MetricDefinition,
    attributes: Attributes,
    read: () => number,
  ): void {
    this.#series(
      definition,
      attributes,
      (all) => new Gauge(() => [{ attributes: all, value: read() }]),
    );
  }

  /** Registers as many numbers as there are at each collection. */
  gauges(definition: MetricDefinition, read: () => readonly Reading[]): void {
    const common = this.#common;
    this.#series(
      definition,
      {},
      () =>
        new Gauge(() =>
          read().map(({ attributes, value }) => ({
            attributes: { ...common, ...attributes },
            value,
          }))
        ),
    );
  }

  /**
   * Registers series that must exist at 0. They are made at the first
   * collection: a store has hundreds of them, and must open fast.
   */
  expect(make: () => void): void {
    this.#expected.push(make);
  }

  /** Registers a callback that runs before each collection. */
  onRead(callback: () => void): void {
    this.#onRead = callback;
  }

  /** All metrics that have a number at this moment. */
  read(): MetricFamily[] {
    this.#beforeLook();
    return [...this.#families.values()]
      .map(({ definition, series }) => ({
        definition,
        samples: [...series.values()].flatMap(samplesOf),
      }))
      .filter(({ samples }) => samples.length > 0);
  }

  /** Reports once more; OpenTelemetry then releases the store. */
  close(): void {
    this.#meter?.removeBatchObservableCallback(
      this.#onCollect,
      this.#observables,
    );
    this.#reportCounters();
  }

  #series<S extends Series>(
    definition: MetricDefinition,
    attributes: Attributes,
    make: (attributes: Attributes, family: Family) => S,
  ): S {
    const family = this.#families.get(definition)!;
    const key = JSON.stringify(attributes);
    const known = family.series.get(key);
    if (known !== undefined) return known as S;
    const made = make({ ...this.#common, ...attributes }, family);
    family.series.set(key, made);
    return made;
  }

  #beforeLook(): void {
    const expected = this.#expected;
    this.#expected = [];
    for (const make of expected) make();
    this.#onRead();
  }

  #collect(result: BatchObservableResult): void {
    this.#beforeLook();
    for (const { series, otel } of this.#families.values()) {
      for (const one of series.values()) {
        if (!(one instanceof Gauge)) break;
        for (const { attributes, value } of one.read()) {
          result.observe(otel as Observable, value, attributes);
        }
      }
    }
    this.#reportCounters();
  }

  #reportCounters(): void {
    for (const { series, otel } of this.#families.values()) {
      for (const one of series.values()) {
        if (!(one instanceof Counter)) break;
        const added = one.take();
        if (added !== undefined) {
          (otel as OtelCounter | undefined)?.add(added, one.attributes);
        }
      }
    }
  }
}

function samplesOf(one: Series): MetricSample[] {
  const readings = one instanceof Gauge ? one.read() : [one];
  return readings.map(({ attributes, value }) => ({
    attributes: attributes as MetricSample["attributes"],
    value,
  }));
}

function instrumentOf(meter: Meter, definition: MetricDefinition) {
  const { name, kind, unit, description, buckets } = definition;
  const options = { unit, description };
  switch (kind) {
    case "counter":
      return meter.createCounter(name, options);
    case "updowncounter":
      return meter.createObservableUpDownCounter(name, options);
    case "histogram":
      return meter.createHistogram(name, {
        ...options,
        advice: { explicitBucketBoundaries: [...buckets ?? []] },
      });
  }
}
