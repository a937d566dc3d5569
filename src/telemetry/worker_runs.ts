import type { EventLog } from "./event_log.ts";
import type { Counter, Histogram } from "./instruments.ts";
import type { LogCode } from "./log_events.ts";
import { attributes, metrics } from "./names.ts";
import type { Registry } from "./registry.ts";

/** How a run ends; `stopped`: it was aborted before its end. */
const outcomes = ["done", "failed", "stopped"] as const;

/** One run of a background worker. */
export interface WorkerRun {
  /** The worker's name, one of a few. */
  worker: string;
  outcome: typeof outcomes[number];
  milliseconds: number;
  /** What it has dealt with, if it reports that. */
  report: { done: number } | undefined;
}

/** Records every run of a store's workers, and logs their events. */
export class WorkerRuns {
  readonly #registry: Registry;
  readonly #log: EventLog;

  constructor(registry: Registry, log: EventLog) {
    this.#registry = registry;
    this.#log = log;
  }

  /** Announces a worker that has not run yet. */
  expect(worker: string): void {
    this.#registry.expect(() => {
      for (const outcome of outcomes) this.#duration(worker, outcome);
      this.#items(worker);
    });
  }

  /** Called when a run has ended. */
  record({ worker, outcome, milliseconds, report }: WorkerRun): void {
    this.#duration(worker, outcome).record(milliseconds / 1000);
    this.#items(worker).add(report?.done ?? 0);
  }

  /** Called for a worker's event. */
  recordEvent({ code, message, details }: {
    code: LogCode;
    message: string;
    details: Record<string, unknown>;
  }): void {
    this.#log.emit(code, details, message);
  }

  #duration(worker: string, outcome: WorkerRun["outcome"]): Histogram {
    return this.#registry.histogram(metrics.workerDuration, {
      [attributes.worker]: worker,
      [attributes.workerOutcome]: outcome,
    });
  }

  #items(worker: string): Counter {
    const of = { [attributes.worker]: worker };
    return this.#registry.counter(metrics.workerItems, of);
  }
}
