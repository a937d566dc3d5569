import type { Store } from "../postgres/store.ts";
import { checkOptions } from "../storage/arguments.ts";
import { canceled, closed } from "../storage/contract_errors.ts";
import { isStreamStorageError } from "../storage/errors.ts";
import type { OperationOptions } from "../storage/model.ts";
import type { Operations } from "../telemetry/operations.ts";
import { systemClock } from "./clock.ts";
import { withPatience } from "./patience.ts";

/** Maintenance that callers ask for, checked and named like every operation. */
export class Calls {
  readonly #store: Store;
  readonly #operations: Operations;
  readonly #graceMs: number;
  readonly #closed = new AbortController();
  readonly #inFlight = new Set<Promise<unknown>>();

  /** `graceMs`: how long an aborted call is waited for. */
  constructor(store: Store, operations: Operations, graceMs: number) {
    this.#store = store;
    this.#operations = operations;
    this.#graceMs = graceMs;
  }

  /**
   * Refuses new calls, aborts those under way and waits for their end, within
   * bounds.
   */
  async close(): Promise<void> {
    this.#closed.abort(closed());
    await Promise.allSettled(this.#inFlight);
  }

  /**
   * Runs the body with a signal that aborts for the caller, for the end of the
   * store and for the loss of the schema.
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
        this.#store.ownership.signal,
        ...(given === undefined ? [] : [given]),
      ]);
      const running = withPatience(body(signal), signal, {
        clock: systemClock,
        graceMs: this.#graceMs,
        giveUp: () => signal.reason,
      });
      this.#inFlight.add(running);
      return await running.finally(() => this.#inFlight.delete(running));
    } catch (error) {
      this.#checkOpen(name);
      throw named(error, name, options?.signal);
    }
  }

  #checkOpen(name: string): void {
    // An instance that lost the schema has closed these calls too.
    this.#store.ownership.signal.throwIfAborted();
    if (this.#closed.signal.aborted) throw closed().withOperation(name);
  }
}

function named(error: unknown, name: string, signal?: AbortSignal): unknown {
  if (signal?.aborted && error === signal.reason) {
    return canceled(error).withOperation(name);
  }
  return isStreamStorageError(error) ? error.withOperation(name) : error;
}
