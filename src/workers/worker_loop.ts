/**
 * The life of a worker: when it runs.
 *
 *     stopped ── start ──▶ waiting ──▶ running ──▶ waiting …
 *        ▲                    │           │
 *        └────── stop ────────┴───────────┘  (aborts the run, waits for it)
 *
 * - A run follows the last one's end by the interval, give or take a jitter,
 *   so that the instances of many schemas do not work in step; the first comes
 *   within a tenth of it. `wake` calls for one at once. A run that found more
 *   than it takes is followed by the next at once, behind others that wait.
 * - Runs of one worker never overlap, those that a caller asks for included;
 *   all workers of a store together run at most as many as their gate lets in.
 * - A run that lasts too long is aborted and has failed. One that ignores its
 *   signal is waited for a while, then its place goes to others. It is not
 *   begun again before it has ended: until then every run has failed.
 * - The circuit. *closed*: after a failure the next run comes at the usual
 *   time. After some failures in a row it *opens*: runs come at a distance that
 *   doubles up to a limit, and nothing wakes them. The first success closes it.
 *
 * Nothing of this is kept across a restart: a worker's work is found by a
 * query, so the first run after a start finds what is due, and only that.
 */

import { isStreamStorageError, StreamStorageError } from "../storage/errors.ts";
import type { LogCode } from "../telemetry/log_events.ts";
import type { Clock } from "./clock.ts";
import { Gate } from "./gate.ts";
import { withPatience } from "./patience.ts";
import type { Worker, WorkerReport } from "./worker.ts";

/** Something that an operator may want to know. */
export interface WorkerEvent {
  /** From the table of log events. */
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
  /** Milliseconds that an aborted run is waited for. Default 10 000. */
  graceMs?: number;
  /** Failures in a row that open the circuit. Default 5. */
  failuresToOpen?: number;
  /** Milliseconds between runs at most while it is open. Default one hour. */
  maxPauseMs?: number;
  clock: Clock;
  /** Shared by all workers of a store. */
  gate: Gate;
  /** Hears what happens; must not throw. */
  onEvent(event: WorkerEvent): void;
  /** Hears of the end of each run; must not throw. */
  onRun?(run: WorkerRun): void;
}

/** How a run ended. */
export interface WorkerRun {
  worker: string;
  outcome: "done" | "failed" | "stopped";
  milliseconds: number;
  report: WorkerReport | undefined;
}

/** How a worker is doing. */
export interface WorkerState {
  /** The worker's name. */
  name: string;
  /** Whether a run is under way. */
  running: boolean;
  /** Whether it runs at its usual interval. */
  circuit: "closed" | "open";
  /** Runs that have ended since the store was opened. */
  runs: number;
  /** Failures since the last success. */
  failuresInARow: number;
  /** What the last run that did not fail has done. */
  lastReport: WorkerReport | undefined;
}

/** Runs a worker again and again; see the file's head. */
export class WorkerLoop<R extends WorkerReport = WorkerReport> {
  readonly #worker: Worker<R>;
  readonly #options: WorkerLoopOptions;
  /** One run at a time. */
  readonly #turn = new Gate(1);
  /** From start to stop. */
  #life: AbortController | undefined;
  #cancelTimer: () => void = () => {};
  /** The runs that the timer began, until they have ended. */
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

  /** Begins to run; does nothing when it has begun. */
  start(): void {
    if (this.#life !== undefined) return;
    this.#life = new AbortController();
    const { clock, intervalMs } = this.#options;
    this.#schedule(clock.random() * intervalMs / 10);
  }

  /** Aborts a run that is under way and waits for its end, within bounds. */
  async stop(): Promise<void> {
    this.#cancelTimer();
    this.#life?.abort(stopped(this.#worker.name));
    this.#life = undefined;
    this.#wanted = false;
    await this.#current;
  }

  /** There is work: runs as soon as it can, unless the circuit is open. */
  wake(): void {
    if (this.#life === undefined || this.#isOpen) return;
    this.#wanted = true;
    if (!this.#due) this.#schedule(0);
  }

  /** Runs something else in the worker's turn, for a caller who waits for it. */
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

  /** Runs the body, and waits for its end only so long once it is aborted. */
  async #endingSoon<T>(
    signal: AbortSignal,
    body: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, graceMs = 10_000 } = this.#options;
    const giveUp = () => goesOn(this.#worker.name, graceMs);
    // In its turn there is no other, but for one that was given up.
    if (this.#running > 0) throw giveUp();
    this.#running++;
    const running = (async () => await body(signal))()
      .finally(() => this.#running--);
    return await withPatience(running, signal, { clock, graceMs, giveUp });
  }

  get #isOpen(): boolean {
    return this.#failuresInARow >= (this.#options.failuresToOpen ?? 5);
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
    const { failuresToOpen = 5 } = this.#options;
    if (this.#wanted && !this.#isOpen) return 0;
    const jittered = Math.round(intervalMs * (0.9 + clock.random() * 0.2));
    if (!this.#isOpen) return jittered;
    const beyond = this.#failuresInARow - failuresToOpen + 1;
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
      if (!life.aborted || isGoingOn(error)) this.#failed(error);
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
    if (this.#isOpen) {
      this.#report("worker_recovered", `Worker ${name} works again`, {
        failures: this.#failuresInARow,
      });
    }
    this.#failuresInARow = 0;
    this.#lastReport = report;
    if (report.more) this.#wanted = true;
    if (report.failed > 0) {
      const text = `Worker ${name} failed with ${report.failed} streams`;
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
    const wasOpen = this.#isOpen;
    this.#failuresInARow++;
    const details = {
      failures: this.#failuresInARow,
      ...faultOf(error),
    };
    if (this.#isOpen && !wasOpen) {
      const text = `Worker ${name} failed again and again, it runs less often`;
      this.#report("worker_suspended", text, details);
    } else {
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

/** What may be told of an error: no text of others, it could hold content. */
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

function goesOn(name: string, graceMs: number): StreamStorageError {
  return new StreamStorageError({
    code: "UNAVAILABLE",
    message: `Worker ${name} goes on, ${graceMs} ms after it was told to end`,
    details: { reason: "worker_goes_on", worker: name, graceMs },
    retryable: true,
  });
}

function isGoingOn(error: unknown): boolean {
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
