/**
 * Makes the methods of a store from functions of the same names, so that neither
 * store spells out each operation: its name, its checks and where its options
 * stand are known from the table (operations.ts).
 *
 * @module
 */
import type { OperationOptions } from "./model.ts";
import {
  type ArgumentsOf,
  type OperationKind,
  type OperationName,
  operationNames,
  operations,
} from "./operations.ts";
import type { StreamId } from "./stream_id.ts";
import type { StreamReader } from "./stream_reader.ts";
import type { StreamStorage } from "./stream_storage.ts";

/** An operation on one stream that returns once. */
export type StreamOperationName = {
  [Name in OperationName]: StreamStorage[Name] extends (
    streamId: StreamId,
    ...args: never[]
  ) => Promise<unknown> ? Name
    : never;
}[OperationName];

/** Those of a reader. */
export type ReadName = StreamOperationName & keyof StreamReader;
/** Those that only a store has. */
export type WriteName = Exclude<StreamOperationName, ReadName>;

/**
 * The functions that do operations, by their names; `Context` comes before the
 * arguments.
 */
export type Implementations<
  Names extends StreamOperationName,
  Context extends unknown[],
> = {
  readonly [Name in Names]: (
    ...args: [...Context, ...ArgumentsOf<Name>]
  ) => ReturnType<StreamStorage[Name]>;
};

/** The same without promises. */
export type ImmediateImplementations<
  Names extends StreamOperationName,
  Context extends unknown[],
> = {
  readonly [Name in Names]: (
    ...args: [...Context, ...ArgumentsOf<Name>]
  ) => Awaited<ReturnType<StreamStorage[Name]>>;
};

/** What is known of a method. */
export interface OperationMethod<Context extends unknown[], Result> {
  readonly name: StreamOperationName;
  /** Checks the arguments. */
  readonly check: (...args: unknown[]) => void;
  /** Does the operation. */
  readonly run: (...args: [...Context, ...unknown[]]) => Result;
}

/** Calls a method of `self`; `args` stand behind the stream id. */
export type Perform<Self, Context extends unknown[], Result> = (
  self: Self,
  method: OperationMethod<Context, Result>,
  streamId: StreamId,
  options: OperationOptions | undefined,
  args: unknown[],
) => Promise<unknown>;

/**
 * Gives a class its operations of some kinds. What the class spells out itself,
 * it keeps.
 */
export function addOperations<
  Self extends object,
  Context extends unknown[],
  Result,
>(
  prototype: Self,
  kinds: readonly OperationKind[],
  implementations: Readonly<
    Record<string, (...args: [...Context, ...never[]]) => Result>
  >,
  perform: Perform<Self, Context, Result>,
): void {
  for (const name of operationNames(...kinds)) {
    if (Object.hasOwn(prototype, name)) continue;
    const { check = () => {}, sample } = operations[name];
    const run = implementations[name];
    const method = { name, check, run } as OperationMethod<Context, Result>;
    const optionsAt = sample(new Uint8Array()).length;
    // Computed, so that stack traces name the operation.
    const { [name]: value } = {
      [name](this: Self, streamId: StreamId, ...args: unknown[]) {
        const options = args[optionsAt] as OperationOptions | undefined;
        return perform(this, method, streamId, options, args);
      },
    };
    Object.defineProperty(prototype, name, {
      value,
      writable: true,
      configurable: true,
    });
  }
}
