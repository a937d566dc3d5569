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

/** Records every run of a store's workers, and logs each failure once. */
export class WorkerRuns {
  readonly #registry: Registry;
  readonly #log: EventLog;
  /** Consecutive failed runs, by worker. */
  readonly #failures = new Map<string, number>();

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
    const failures = this.#failures.get(worker) ?? 0;
    if (outcome === "failed") this.#failures.set(worker, failures + 1);
    if (outcome !== "done" || failures === 0) return;
    this.#failures.delete(worker);
    const message = `Worker ${worker} works again`;
    this.#log.emit("worker_recovered", { worker, failures }, message);
  }

  /** Called for a worker's event, after its run was recorded. */
  recordEvent(
    worker: string,
    { code, message, details }: {
      code: LogCode;
      message: string;
      details: Record<string, unknown>;
    },
  ): void {
    const isKnown = code === "worker_recovered" ||
      (code === "worker_failed" && (this.#failures.get(worker) ?? 0) > 1);
    if (!isKnown) this.#log.emit(code, details, message);
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
