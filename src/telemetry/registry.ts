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
  /** What it is the number of. */
  readonly attributes: Readonly<Record<string, string | number>>;
  /** The number, or how the values are spread. */
  readonly value: number | HistogramValue;
}

/** A metric with all its numbers, at one moment. */
export interface MetricFamily {
  /** From the table of metrics. */
  readonly definition: MetricDefinition;
  /** One for every combination of attributes that is known or was seen. */
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
 * OpenTelemetry is told of gauges and counters when it collects, by one
 * callback: gauges are looked up, counters report what was added since. The
 * counters are ordinary instruments all the same, not observable ones: those
 * would be gone from the collection that comes after `close`, with all that
 * was counted since the one before.
 *
 * A host's SDK must be installed before the store is opened: until then there
 * are no instruments, or such that do nothing, and it stays so.
 */
export class Registry {
  readonly #common: Attributes;
  readonly #meter: Meter | undefined = openTelemetry()?.metrics
    .getMeter(scopeName);
  readonly #families = new Map<MetricDefinition, Family>();
  readonly #observables: Observable[] = [];
  #onRead: () => void = () => {};
  /** Makes the series that are known before anything has happened. */
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

  /** The counter with these attributes, the same at every call. */
  counter(definition: MetricDefinition, attributes: Attributes): Counter {
    return this.#series(definition, attributes, (all) => new Counter(all));
  }

  /** The histogram with these attributes, the same at every call. */
  histogram(definition: MetricDefinition, attributes: Attributes): Histogram {
    return this.#series(definition, attributes, (all, { otel }) => {
      const { buckets = [] } = definition;
      return new Histogram(all, buckets, otel as OtelHistogram | undefined);
    });
  }

  /** Looks a number up whenever it is asked for. */
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

  /** The same for as many numbers as there are at that moment. */
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
   * Series that are to be there at 0. They are made when somebody looks for the
   * first time: a store has hundreds, and is to be open soon.
   */
  expect(make: () => void): void {
    this.#expected.push(make);
  }

  /** Calls back whenever somebody is about to look. */
  onRead(callback: () => void): void {
    this.#onRead = callback;
  }

  /** All metrics that have a number, at this moment. */
  read(): MetricFamily[] {
    this.#beforeLook();
    return [...this.#families.values()]
      .map(({ definition, series }) => ({
        definition,
        samples: [...series.values()].flatMap(samplesOf),
      }))
      .filter(({ samples }) => samples.length > 0);
  }

  /** Reports for the last time; OpenTelemetry lets go of the store. */
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
