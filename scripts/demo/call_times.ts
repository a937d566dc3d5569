import type { StreamStorage } from "../../mod.ts";

/** How long the calls of one operation took for their caller. */
export interface OperationTimes {
  operation: string;
  calls: number;
  medianMs: number;
  slowestMs: number;
}

/** Times every call to a storage. */
export class CallTimes {
  readonly #times = new Map<string, number[]>();

  /** Returns a storage that forwards each call and times it. */
  watch(storage: StreamStorage): StreamStorage {
    return new Proxy(storage, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          const result: unknown = value.apply(target, args);
          return this.#watchResult(String(name), result);
        };
      },
    });
  }

  /** Returns the times by operation, in the order of the first calls. */
  summary(): OperationTimes[] {
    return [...this.#times].map(([operation, times]) => {
      const sorted = times.toSorted((a, b) => a - b);
      return {
        operation,
        calls: sorted.length,
        medianMs: round(sorted[Math.floor(sorted.length / 2)] ?? 0),
        slowestMs: round(sorted.at(-1) ?? 0),
      };
    });
  }

  #watchResult(operation: string, result: unknown): unknown {
    const start = performance.now();
    const end = () => {
      const times = this.#times.get(operation) ?? [];
      this.#times.set(operation, times);
      times.push(performance.now() - start);
    };
    if (result instanceof Promise) return result.finally(end);
    return isIterable(result) ? watchIteration(result, end) : result;
  }
}

async function* watchIteration(
  iterable: AsyncIterable<unknown>,
  end: () => void,
): AsyncGenerator<unknown> {
  try {
    yield* iterable;
  } finally {
    end();
  }
}

function isIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null &&
    Symbol.asyncIterator in value;
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}
