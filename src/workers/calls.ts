import { checkOptions } from "../storage/arguments.ts";
import { canceled, closed } from "../storage/contract_errors.ts";
import { isStreamStorageError } from "../storage/errors.ts";
import type { OperationOptions } from "../storage/model.ts";
import type { Operations } from "../telemetry/operations.ts";
import { systemClock } from "./clock.ts";
import { withGracePeriod } from "./grace_period.ts";

/** Maintenance calls of the caller, checked and named like every operation. */
export class Calls {
  readonly #signal: AbortSignal;
  readonly #operations: Operations;
  readonly #graceMs: number;
  readonly #closed = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  /**
   * `signal` aborts when the schema is lost. `graceMs`: how long an aborted call
   * may take to end.
   */
  constructor(signal: AbortSignal, operations: Operations, graceMs: number) {
    this.#signal = signal;
    this.#operations = operations;
    this.#graceMs = graceMs;
  }

  /**
   * Refuses new calls, aborts the running ones and waits for their end, within
   * bounds.
   */
  async close(): Promise<void> {
    this.#closed.abort(closed());
    await Promise.allSettled(this.#running);
  }

  /**
   * Runs the body with a signal that aborts when the caller aborts, when the
   * store closes and when the schema is lost.
   */
  call<T>(
    name: string,
    options: OperationOptions | undefined,
    body: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const operation = this.#operations.of(name);
    return operation.run(() => this.#call(name, options, body));
  }

  async #call<T>(
    name: string,
    options: OperationOptions | undefined,
    body: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    this.#checkOpen(name);
    try {
      checkOptions(options);
      const { signal: given } = options ?? {};
      if (given?.aborted) throw canceled(given.reason);
      const signal = AbortSignal.any([
        this.#closed.signal,
        this.#signal,
        ...(given === undefined ? [] : [given]),
      ]);
      const running = withGracePeriod(body(signal), signal, {
        clock: systemClock,
        graceMs: this.#graceMs,
        giveUp: () => signal.reason,
      });
      this.#running.add(running);
      return await running.finally(() => this.#running.delete(running));
    } catch (error) {
      this.#checkOpen(name);
      throw named(error, name, options?.signal);
    }
  }

  #checkOpen(name: string): void {
    // The loss of the schema has aborted these calls, too; report the loss.
    this.#signal.throwIfAborted();
    if (this.#closed.signal.aborted) throw closed().withOperation(name);
  }
}

function named(error: unknown, name: string, signal?: AbortSignal): unknown {
  if (signal?.aborted && error === signal.reason) {
    return canceled(error).withOperation(name);
  }
  return isStreamStorageError(error) ? error.withOperation(name) : error;
}
