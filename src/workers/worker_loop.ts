/**
 * The life of a worker: when it runs.
 *
 *     stopped ── start ──▶ waiting ──▶ running ──▶ waiting …
 *        ▲                    │           │
 *        └────── stop ────────┴───────────┘  (aborts the run, waits for it)
 *
 * - A run follows the end of the last one after the interval, with some jitter,
 *   so that the instances of many schemas do not run in step; the first run
 *   starts within a tenth of it. `wake` requests a run at once. After a run
 *   with more work than its limit the next one follows at once, behind other
 *   workers that wait.
 * - Runs of one worker never overlap, including those that a caller requests.
 *   The workers of a store share a gate, which limits how many run at a time.
 * - A run that lasts too long is aborted and counts as failed. If it ignores
 *   its signal, its place goes to others after a grace period, and until it has
 *   ended, every further run of that worker fails.
 * - The circuit. *closed*: after a failure the next run comes at the usual
 *   time. After several failures in a row it *opens*: the pause between runs
 *   doubles up to a limit, and `wake` does nothing. The first success closes
 *   it.
 *
 * A restart forgets all of this. A worker finds its work by a query, so the
 * first run after a start finds what is due, and nothing else.
 */

import { isStreamStorageError, StreamStorageError } from "../storage/errors.ts";
import type { LogCode } from "../telemetry/log_events.ts";
import type { Clock } from "./clock.ts";
import { Gate } from "./gate.ts";
import { withGracePeriod } from "./grace_period.ts";
import type { Worker, WorkerReport } from "./worker.ts";

/** An event that may interest an operator. */
export interface WorkerEvent {
  /** A code from the table of log events. */
  code: LogCode;
  message: string;
  details: Record<string, unknown>;
}

/** How a {@linkcode WorkerLoop} runs its worker. */
export interface WorkerLoopOptions {
  /** Milliseconds from the end of a run to the next. */
  intervalMs: number;
  /** Milliseconds that a run may last. */
  timeoutMs: number;
  /** Milliseconds that an aborted run may take to end. Default 10 000. */
  graceMs?: number;
  /** Consecutive failures that open the circuit. Default 5. */
  failuresToOpen?: number;
  /** Longest pause while it is open, in milliseconds. Default one hour. */
  maxPauseMs?: number;
  clock: Clock;
  /** Shared by all workers of a store. */
  gate: Gate;
  /** Receives the worker's events; must not throw. */
  onEvent(event: WorkerEvent): void;
  /** Called at the end of each run; must not throw. */
  onRun?(run: WorkerRun): void;
}

/** How a run ended. */
export interface WorkerRun {
  worker: string;
  outcome: "done" | "failed" | "stopped";
  milliseconds: number;
  report: WorkerReport | undefined;
}

/** The state of a worker. */
export interface WorkerState {
  /** The worker's name. */
  name: string;
  /** Whether a run is in progress. */
  running: boolean;
  /** `closed` if it runs at its usual interval. */
  circuit: "closed" | "open";
  /** Runs that have ended since the store was opened. */
  runs: number;
  /** Failures since the last success. */
  failuresInARow: number;
  /** The report of the last run that did not fail. */
  lastReport: WorkerReport | undefined;
}

/** Runs a worker repeatedly; see the head of this file. */
export class WorkerLoop<R extends WorkerReport = WorkerReport> {
  readonly #worker: Worker<R>;
  readonly #options: WorkerLoopOptions;
  /** Admits one run at a time. */
  readonly #turn = new Gate(1);
  /** Exists from start to stop. */
  #life: AbortController | undefined;
  #cancelTimer: () => void = () => {};
  /** Settles when the runs that the timer began have ended. */
  #current: Promise<void> = Promise.resolve();
  #due = false;
  #wanted = false;
  #running = 0;
  #runs = 0;
  #failuresInARow = 0;
  #lastReport: R | undefined;

  constructor(worker: Worker<R>, options: WorkerLoopOptions) {
    this.#worker = worker;
    this.#options = options;
  }

  get state(): WorkerState {
    return {
      name: this.#worker.name,
      running: this.#running > 0,
      circuit: this.#isOpen ? "open" : "closed",
      runs: this.#runs,
      failuresInARow: this.#failuresInARow,
      lastReport: this.#lastReport,
    };
  }

  /** Starts the runs; does nothing if they are already started. */
  start(): void {
    if (this.#life !== undefined) return;
    this.#life = new AbortController();
    const { clock, intervalMs } = this.#options;
    this.#schedule(clock.random() * intervalMs / 10);
  }

  /** Aborts the present run and waits for its end, within bounds. */
  async stop(): Promise<void> {
    this.#cancelTimer();
    this.#life?.abort(stopped(this.#worker.name));
    this.#life = undefined;
    this.#wanted = false;
    await this.#current;
  }

  /** Reports new work: runs as soon as possible, unless the circuit is open. */
  wake(): void {
    if (this.#life === undefined || this.#isOpen) return;
    this.#wanted = true;
    if (!this.#due) this.#schedule(0);
  }

  /** Runs a caller's request in the worker's turn. */
  async run<T>(
    signal: AbortSignal,
    body: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return await this.#inTurn(signal, () => this.#endingSoon(signal, body));
  }

  async #inTurn<T>(signal: AbortSignal, body: () => Promise<T>): Promise<T> {
    return await this.#turn.pass(
      signal,
      () => this.#options.gate.pass(signal, body),
    );
  }

  /** Runs the body; after an abort, waits only the grace period for its end. */
  async #endingSoon<T>(
    signal: AbortSignal,
    body: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, graceMs = 10_000 } = this.#options;
    const giveUp = () => stillRuns(this.#worker.name, graceMs);
    // A body may still run in this turn only if an earlier run was given up.
    if (this.#running > 0) throw giveUp();
    this.#running++;
    const running = (async () => await body(signal))()
      .finally(() => this.#running--);
    return await withGracePeriod(running, signal, { clock, graceMs, giveUp });
  }

  get #failuresToOpen(): number {
    return this.#options.failuresToOpen ?? 5;
  }

  get #isOpen(): boolean {
    return this.#failuresInARow >= this.#failuresToOpen;
  }

  #schedule(milliseconds: number): void {
    const life = this.#life?.signal;
    if (life === undefined) return;
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(milliseconds, () => {
      this.#due = true;
      this.#current = this.#tick(life).then(() => {
        this.#due = false;
        if (this.#life?.signal === life) this.#schedule(this.#delay());
      });
    });
  }

  /** Milliseconds until the next run. */
  #delay(): number {
    const { clock, intervalMs, maxPauseMs = 3_600_000 } = this.#options;
    if (this.#wanted && !this.#isOpen) return 0;
    const jittered = Math.round(intervalMs * (0.9 + clock.random() * 0.2));
    if (!this.#isOpen) return jittered;
    const beyond = this.#failuresInARow - this.#failuresToOpen + 1;
    return Math.min(jittered * 2 ** beyond, Math.max(maxPauseMs, intervalMs));
  }

  /** One run; never rejects. */
  async #tick(life: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let since = clock.now();
    try {
      const report = await this.#inTurn(life, () => {
        since = clock.now();
        this.#wanted = false;
        return this.#withinTime(life);
      });
      this.#succeeded(report, since);
    } catch (error) {
      this.#ended(life.aborted ? "stopped" : "failed", since, undefined);
      if (!life.aborted || isStillRunning(error)) this.#failed(error);
    }
  }

  async #withinTime(life: AbortSignal): Promise<R> {
    const { clock, timeoutMs } = this.#options;
    const late = new AbortController();
    const cancel = clock.after(
      timeoutMs,
      () => late.abort(timedOut(this.#worker.name, timeoutMs)),
    );
    try {
      return await this.#endingSoon(
        AbortSignal.any([life, late.signal]),
        (signal) => this.#worker.runOnce(signal),
      );
    } finally {
      cancel();
    }
  }

  #succeeded(report: R, since: number): void {
    const { name } = this.#worker;
    const milliseconds = this.#ended("done", since, report);
    if (this.#failuresInARow > 0) {
      this.#report("worker_recovered", `Worker ${name} works again`, {
        failures: this.#failuresInARow,
      });
    }
    this.#failuresInARow = 0;
    this.#lastReport = report;
    if (report.more) this.#wanted = true;
    if (report.failed > 0) {
      const text = `Worker ${name} failed for ${report.failed} streams`;
      this.#report("worker_streams_failed", text, {
        failed: report.failed,
        first: report.firstFailure,
      });
    }
    if (report.done + report.failed === 0) return;
    this.#report("worker_ran", `Worker ${name} has run`, {
      done: report.done,
      failed: report.failed,
      milliseconds,
    });
  }

  #failed(error: unknown): void {
    const { name } = this.#worker;
    this.#failuresInARow++;
    const details = {
      failures: this.#failuresInARow,
      ...faultOf(error),
    };
    // Failures in a row are logged once, and again when the circuit opens.
    if (this.#failuresInARow === this.#failuresToOpen) {
      const text = `Worker ${name} keeps failing and runs less often`;
      this.#report("worker_suspended", text, details);
    } else if (this.#failuresInARow === 1) {
      this.#report("worker_failed", `Worker ${name} failed`, details);
    }
  }

  #ended(
    outcome: WorkerRun["outcome"],
    since: number,
    report: R | undefined,
  ): number {
    this.#runs++;
    const worker = this.#worker.name;
    const milliseconds = Math.round(this.#options.clock.now() - since);
    this.#options.onRun?.({ worker, outcome, milliseconds, report });
    return milliseconds;
  }

  #report(
    code: LogCode,
    message: string,
    details: Record<string, unknown>,
  ): void {
    const worker = this.#worker.name;
    this.#options.onEvent({
      code,
      message,
      details: { worker, ...details },
    });
  }
}

/** What may be logged of an error. Foreign messages could hold content. */
export function faultOf(error: unknown): Record<string, unknown> {
  if (isStreamStorageError(error)) {
    const { code, message, details: { reason } } = error;
    return { error: code, reason, message };
  }
  return { error: error instanceof Error ? error.name : typeof error };
}

function timedOut(name: string, timeoutMs: number): StreamStorageError {
  return new StreamStorageError({
    code: "DEADLINE_EXCEEDED",
    message: `Run of worker ${name} lasted more than ${timeoutMs} ms`,
    details: { reason: "worker_timeout", worker: name, timeoutMs },
    retryable: true,
  });
}

function stillRuns(name: string, graceMs: number): StreamStorageError {
  return new StreamStorageError({
    code: "UNAVAILABLE",
    message: `Worker ${name} still runs ${graceMs} ms after its abort`,
    details: { reason: "worker_goes_on", worker: name, graceMs },
    retryable: true,
  });
}

function isStillRunning(error: unknown): boolean {
  return isStreamStorageError(error) &&
    error.details["reason"] === "worker_goes_on";
}

function stopped(name: string): StreamStorageError {
  return new StreamStorageError({
    code: "CANCELED",
    message: `Worker ${name} was stopped`,
    details: { reason: "worker_stopped", worker: name },
  });
}
