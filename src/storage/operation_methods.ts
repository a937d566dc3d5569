/**
 * Makes the methods of a store from functions of the same names, so that
 * neither store spells out each operation. The table (operations.ts) has its
 * name, its checks and the position of its options.
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

/** The operations of a reader. */
export type ReadName = StreamOperationName & keyof StreamReader;
/** The operations that only a store has. */
export type WriteName = Exclude<StreamOperationName, ReadName>;

/**
 * The functions that implement operations, by name; each gets its context
 * before the operation's arguments.
 */
export type Implementations<Names extends StreamOperationName, First, Second> =
  {
    readonly [Name in Names]: (
      first: First,
      second: Second,
      ...args: ArgumentsOf<Name>
    ) => ReturnType<StreamStorage[Name]>;
  };

/** The same functions, without promises. */
export type ImmediateImplementations<
  Names extends StreamOperationName,
  First,
  Second,
> = {
  readonly [Name in Names]: (
    first: First,
    second: Second,
    ...args: ArgumentsOf<Name>
  ) => Awaited<ReturnType<StreamStorage[Name]>>;
};

/** How a class makes a call; `body` checks arguments and does the operation. */
export type Perform<Self, First, Second, Result> = (
  self: Self,
  name: StreamOperationName,
  streamId: StreamId,
  options: OperationOptions | undefined,
  body: (first: First, second: Second) => Result,
) => Promise<unknown>;

/**
 * Gives a class its operations of some kinds. Methods that the class defines
 * itself stay.
 */
export function addOperations<Self extends object, First, Second, Result>(
  prototype: Self,
  kinds: readonly OperationKind[],
  implementations: Readonly<
    Record<string, (first: First, second: Second, ...args: never[]) => Result>
  >,
  perform: Perform<Self, First, Second, Result>,
): void {
  for (const name of operationNames(...kinds)) {
    if (Object.hasOwn(prototype, name)) continue;
    const value = methodOf(
      name as StreamOperationName,
      implementations[name] as Implementation<First, Second, Result>,
      perform,
    );
    Object.defineProperty(prototype, name, {
      value,
      writable: true,
      configurable: true,
    });
  }
}

/**
 * No operation has more arguments after its stream id, including options. With
 * rest parameters instead, a call took 3 % (Deno) to 15 % (Bun) longer to reach
 * the write queue.
 */
type Arguments = [a?: unknown, b?: unknown, c?: unknown, d?: unknown];
type Implementation<First, Second, Result> = (
  first: First,
  second: Second,
  ...args: Arguments
) => Result;
type Method<Self> = (
  this: Self,
  streamId: StreamId,
  ...args: Arguments
) => Promise<unknown>;

function methodOf<Self, First, Second, Result>(
  name: StreamOperationName,
  run: Implementation<First, Second, Result>,
  perform: Perform<Self, First, Second, Result>,
): Method<Self> {
  const { sample, check = () => {} } = operations[name];
  const given = sample(new Uint8Array()).length;
  const checked = check as (...args: Arguments) => void;
  // Computed, so that stack traces name the operation.
  const methods: Record<string, Method<Self>> = {
    [name](streamId, a, b, c, d) {
      const options = given === 0 ? a : given === 1 ? b : given === 2 ? c : d;
      return perform(
        this,
        name,
        streamId,
        options as OperationOptions | undefined,
        (first, second) => {
          checked(a, b, c, d);
          return run(first, second, a, b, c, d);
        },
      );
    },
  };
  return methods[name]!;
}
