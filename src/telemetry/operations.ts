import type {
  Attributes,
  Context,
  Span,
  SpanKind,
  SpanOptions,
  SpanStatusCode,
  Tracer,
} from "@opentelemetry/api";
import { isStreamStorageError } from "../storage/errors.ts";
import { printable } from "../storage/foreign_text.ts";
import { isStoredForm } from "../storage/stream_id.ts";
import type { DatabaseHealth } from "./database_health.ts";
import type { Counter, Histogram } from "./instruments.ts";
import { errorCodes } from "./known_names.ts";
import { attributes, metrics, scopeName } from "./names.ts";
import { openTelemetry } from "./open_telemetry.ts";
import type { Registry } from "./registry.ts";

/** What the calls of a store have in common. */
export interface OperationsOptions {
  registry: Registry;
  health: DatabaseHealth;
  /** The attributes of every span. */
  common: Attributes;
  schema: string;
  /** The operations that are known before they are called. */
  names: readonly string[];
}

/** The calls of a store, with one span and one duration each. */
export class Operations {
  readonly #options: OperationsOptions;
  readonly #tracer: Tracer | undefined = openTelemetry()?.trace
    .getTracer(scopeName);
  readonly #byName = new Map<string, Operation>();

  constructor(options: OperationsOptions) {
    this.#options = options;
    const { registry, names } = options;
    registry.expect(() => {
      for (const code of [...errorCodes, otherError]) errorsOf(registry, code);
      for (const name of names) this.of(name);
    });
  }

  /** Returns the operation with this name, which is made once. */
  of(name: string): Operation {
    let operation = this.#byName.get(name);
    if (operation === undefined) {
      operation = new Operation(name, this.#options, this.#tracer);
      this.#byName.set(name, operation);
    }
    return operation;
  }
}

/** The API's constants, copied so that they need not be loaded. */
const clientKind: SpanKind.CLIENT = 2;
const errorStatus: SpanStatusCode.ERROR = 2;

/** The conventions' type for errors that are not ours. */
const otherError = "_OTHER";

function errorsOf(registry: Registry, code: string): Counter {
  const of = { [attributes.errorType]: code };
  return registry.counter(metrics.operationErrors, of);
}

/** One operation, for example `writeEvent`. */
export class Operation {
  readonly #name: string;
  readonly #options: OperationsOptions;
  readonly #tracer: Tracer | undefined;
  readonly #spanName: string;
  readonly #spanOptions: SpanOptions;
  readonly #succeeded: Histogram;
  readonly #failed = new Map<string, Histogram>();

  constructor(
    name: string,
    options: OperationsOptions,
    tracer: Tracer | undefined,
  ) {
    this.#name = name;
    this.#options = options;
    this.#tracer = tracer;
    // A summary names the operation and its target; no statement is shown.
    this.#spanName = `${name} ${options.schema}`;
    this.#spanOptions = {
      kind: clientKind,
      attributes: {
        ...options.common,
        [attributes.operation]: name,
        [attributes.querySummary]: this.#spanName,
      },
    };
    this.#succeeded = options.registry.histogram(metrics.operationDuration, {
      [attributes.operation]: name,
    });
  }

  /** Starts the call's span below the caller's, if anything records spans. */
  startSpan(streamId?: string): Span | undefined {
    const span = this.#tracer?.startSpan(this.#spanName, this.#spanOptions);
    if (!span?.isRecording()) return undefined;
    if (typeof streamId === "string") {
      // The id is not checked yet, so it may be any text.
      const shown = isStoredForm(streamId) ? streamId : printable(streamId, 16);
      span.setAttribute(attributes.streamId, shown);
    }
    return span;
  }

  /** Called when the call has returned; `since` is a `performance.now()`. */
  succeeded(since: number, span: Span | undefined): void {
    this.#succeeded.record((performance.now() - since) / 1000);
    this.#options.health.callSucceeded();
    span?.end();
  }

  /** Called when the call has thrown. */
  failed(since: number, span: Span | undefined, error: unknown): void {
    const type = isStreamStorageError(error) ? error.code : otherError;
    this.#failedWith(type).record((performance.now() - since) / 1000);
    errorsOf(this.#options.registry, type).add();
    this.#options.health.callFailed(error);
    if (span === undefined) return;
    span.setAttribute(attributes.errorType, type);
    if (isStreamStorageError(error)) {
      const { reason, sqlState } = error.details;
      span.setAttribute(attributes.outcome, error.outcome);
      if (typeof reason === "string") {
        span.setAttribute(attributes.errorReason, reason);
      }
      if (typeof sqlState === "string") {
        span.setAttribute(attributes.sqlState, sqlState);
      }
    }
    span.setStatus({
      code: errorStatus,
      ...(isStreamStorageError(error) ? { message: error.message } : {}),
    });
    span.end();
  }

  /** Runs a call from beginning to end. */
  async run<T>(body: () => Promise<T>): Promise<T> {
    const span = this.startSpan();
    const since = performance.now();
    try {
      const result = await inSpan(span, body);
      this.succeeded(since, span);
      return result;
    } catch (error) {
      this.failed(since, span, error);
      throw error;
    }
  }

  /**
   * Runs a call that yields several results: one span covers all of it, and its
   * duration is the time during which the caller waited for us.
   */
  async *iterate<T>(
    source: AsyncGenerator<T, void, undefined>,
    streamId?: string,
  ): AsyncGenerator<T, void, undefined> {
    const span = this.startSpan(streamId);
    let waited = 0;
    let failure: { error: unknown } | undefined;
    try {
      for (;;) {
        const asked = performance.now();
        const next = await inSpan(span, () => source.next());
        waited += performance.now() - asked;
        if (next.done) break;
        yield next.value;
      }
    } catch (error) {
      failure = { error };
      throw error;
    } finally {
      const since = performance.now() - waited;
      if (failure === undefined) this.succeeded(since, span);
      else this.failed(since, span, failure.error);
      await source.return();
    }
  }

  #failedWith(type: string): Histogram {
    let histogram = this.#failed.get(type);
    if (histogram === undefined) {
      histogram = this.#options.registry.histogram(metrics.operationDuration, {
        [attributes.operation]: this.#name,
        [attributes.errorType]: type,
      });
      this.#failed.set(type, histogram);
    }
    return histogram;
  }
}

/** The place of a call among the spans. */
export type CallContext = Context;

/** The present context, for a later {@linkcode inContext}. */
export function activeContext(): CallContext | undefined {
  return openTelemetry()?.context.active();
}

/** Runs the body in an earlier context, if there is one. */
export function inContext<T>(of: CallContext | undefined, body: () => T): T {
  const api = openTelemetry();
  return of && api ? api.context.with(of, body) : body();
}

/** Runs the body with the span as the active one. */
export function inSpan<T>(span: Span | undefined, body: () => T): T {
  const api = openTelemetry();
  if (span === undefined || api === undefined) return body();
  const { context, trace } = api;
  return context.with(trace.setSpan(context.active(), span), body);
}
