import type { StreamStorageError } from "../storage/errors.ts";
import type { DatabaseHealth } from "./database_health.ts";
import type { Counter, Histogram } from "./instruments.ts";
import { attributes, metrics, spans } from "./names.ts";
import { openTelemetry } from "./open_telemetry.ts";
import type { Registry } from "./registry.ts";

const outcomes = [
  "committed",
  /** A check of its own stopped it; nothing was written. */
  "rejected",
  /** It failed, or never began; nothing was written. */
  "rolled_back",
  /** Its caller's signal stopped it; nothing was written. */
  "canceled",
  /** Its answer was lost; it may have been committed. */
  "unknown",
] as const;

/** How a transaction ended, after all its attempts. */
export type TransactionOutcome = typeof outcomes[number];

interface TransactionSeries {
  attempts: Counter;
  durations: Map<TransactionOutcome, Histogram>;
}

/** The end of a transaction. */
export interface TransactionEnd {
  name: string;
  mode: "read" | "write";
  outcome: TransactionOutcome;
  /** When it began, in the time of `performance.now()`. */
  since: number;
  /** The error that its caller receives. */
  error?: StreamStorageError;
}

/** Counts and measures every transaction of a store. */
export class TransactionMetrics {
  readonly #registry: Registry;
  readonly #health: DatabaseHealth;
  readonly #byName = new Map<string, TransactionSeries>();

  /** `names` are those that are known before the first transaction. */
  constructor(
    registry: Registry,
    health: DatabaseHealth,
    names: readonly string[],
  ) {
    this.#registry = registry;
    this.#health = health;
    registry.expect(() => {
      for (const name of names) {
        for (const outcome of outcomes) this.#duration(name, outcome);
      }
    });
  }

  /** Called for each attempt, including the first. */
  attempted(name: string): void {
    this.#of(name).attempts.add();
  }

  /** Called for the nth attempt, after a failure of this type. */
  retried(name: string, nth: number, errorType: string): void {
    this.#registry.counter(metrics.transactionRetries, {
      [attributes.transaction]: name,
      [attributes.errorType]: errorType,
    }).add();
    openTelemetry()?.trace.getActiveSpan()?.addEvent(
      spans.call.events.retry.name,
      {
        [attributes.transaction]: name,
        [attributes.attempt]: nth,
        [attributes.errorType]: errorType,
      },
    );
  }

  /** Called when the transaction is over. */
  ended({ name, mode, outcome, since, error }: TransactionEnd): void {
    const now = performance.now();
    this.#duration(name, outcome).record((now - since) / 1000);
    const isAnswer = outcome === "committed" || outcome === "rejected";
    if (isAnswer) this.#health.answered(now);
    if (mode === "read") return;
    if (outcome === "committed") this.#health.writeCommitted();
    else if (error !== undefined) this.#health.writeFailed(error);
  }

  #duration(name: string, outcome: TransactionOutcome): Histogram {
    const { durations } = this.#of(name);
    let histogram = durations.get(outcome);
    if (histogram === undefined) {
      histogram = this.#registry.histogram(metrics.transactionDuration, {
        [attributes.transaction]: name,
        [attributes.transactionOutcome]: outcome,
      });
      durations.set(outcome, histogram);
    }
    return histogram;
  }

  #of(name: string): TransactionSeries {
    let series = this.#byName.get(name);
    if (series === undefined) {
      const attempts = this.#registry.counter(metrics.transactionAttempts, {
        [attributes.transaction]: name,
      });
      series = { attempts, durations: new Map() };
      this.#byName.set(name, series);
    }
    return series;
  }
}
