import { checkOptions, checkStreamId } from "../storage/arguments.ts";
import { canceled, closed } from "../storage/contract_errors.ts";
import { isStreamStorageError } from "../storage/errors.ts";
import type { OperationOptions } from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import {
  activeContext,
  inSpan,
  type Operations,
} from "../telemetry/operations.ts";
import { Intake } from "./intake.ts";
import type { StreamCall } from "./store.ts";

/** What a {@linkcode CallRunner} is made of. */
export interface CallRunnerOptions {
  operations: Operations;
  /** Milliseconds for one call. */
  operationTimeoutMs: number;
  /** Aborts when no call can succeed any more; calls fail with its reason. */
  signal?: AbortSignal;
}

/**
 * Runs the calls of a reader or a store: admits them, checks the arguments that
 * all of them share, measures them, and names the operation in what they throw.
 */
export class CallRunner {
  readonly #options: CallRunnerOptions;
  readonly #intake = new Intake();
  #isClosed = false;

  constructor(options: CallRunnerOptions) {
    this.#options = options;
  }

  /** Refuses all further calls. */
  refuse(): void {
    this.#isClosed = true;
  }

  /** A call on one stream. */
  onStream<S, T>(
    name: string,
    streamId: StreamId,
    options: OperationOptions | undefined,
    store: S,
    body: (store: S, call: StreamCall) => Promise<T>,
  ): Promise<T> {
    return this.run(
      name,
      options,
      (since) => body(store, this.#checked(name, streamId, options, since)),
      streamId,
    );
  }

  /** Runs a call; `body` receives the time when the call was made. */
  run<T>(
    name: string,
    options: OperationOptions | undefined,
    body: (since: number) => Promise<T>,
    streamId?: StreamId,
  ): Promise<T> {
    const since = performance.now();
    return this.#intake.pass(() =>
      this.#run(name, options, body, streamId, since)
    );
  }

  /** A call on one stream whose result is an iteration. */
  iterate<T>(
    name: string,
    streamId: StreamId,
    options: OperationOptions | undefined,
    body: (call: StreamCall) => AsyncGenerator<T, void, undefined>,
  ): AsyncGenerator<T, void, undefined> {
    const operation = this.#options.operations.of(name);
    return operation.iterate(
      this.#iterate(name, streamId, options, body),
      streamId,
    );
  }

  async *#iterate<T>(
    name: string,
    streamId: StreamId,
    options: OperationOptions | undefined,
    body: (call: StreamCall) => AsyncGenerator<T, void, undefined>,
  ): AsyncGenerator<T, void, undefined> {
    try {
      yield* body(this.#checked(name, streamId, options));
    } catch (error) {
      throw named(error, name, options?.signal);
    }
  }

  async #run<T>(
    name: string,
    options: OperationOptions | undefined,
    body: (since: number) => Promise<T>,
    streamId: StreamId | undefined,
    since: number,
  ): Promise<T> {
    const operation = this.#options.operations.of(name);
    const span = operation.startSpan(streamId);
    try {
      this.#checkCallable(options);
      const result = await inSpan(span, () => body(since));
      operation.succeeded(since, span);
      return result;
    } catch (error) {
      const thrown = named(error, name, options?.signal);
      operation.failed(since, span, thrown);
      throw thrown;
    }
  }

  #checked(
    name: string,
    streamId: StreamId,
    options: OperationOptions | undefined,
    submittedAt = performance.now(),
  ): StreamCall {
    this.#checkCallable(options);
    checkStreamId(streamId);
    return {
      name,
      streamId,
      signal: options?.signal,
      submittedAt,
      deadline: submittedAt + this.#options.operationTimeoutMs,
      context: activeContext(),
    };
  }

  #checkCallable(options: OperationOptions | undefined): void {
    if (this.#isClosed) throw closed();
    this.#options.signal?.throwIfAborted();
    checkOptions(options);
    if (options?.signal?.aborted) throw canceled(options.signal.reason);
  }
}

function named(error: unknown, name: string, signal?: AbortSignal): unknown {
  // A wait in the write queue ends with the signal's own reason.
  if (signal?.aborted && error === signal.reason) {
    return canceled(error).withOperation(name);
  }
  return isStreamStorageError(error) ? error.withOperation(name) : error;
}
