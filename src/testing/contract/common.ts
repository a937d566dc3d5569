/** Rules that are common to all operations. */
import assert from "node:assert/strict";
import type { OperationOptions } from "../../storage/model.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { StreamStorage } from "../../storage/stream_storage.ts";
import type { Suite } from "./suite.ts";
import { assertFails, assertStorageError, newStreamId } from "./support.ts";

/** A call of one operation with valid arguments. */
export type StreamCall = (
  storage: StreamStorage,
  streamId: StreamId,
  options?: OperationOptions,
) => Promise<unknown>;

const BAD_IDS: readonly unknown[] = [
  "",
  "10",
  "1".repeat(63),
  "1".repeat(65),
  "G".repeat(64),
  "A8".repeat(32),
  `0x${"10".repeat(32)}`,
  undefined,
  null,
  10,
  new Uint8Array(32),
];

/** Tests of an operation on one stream that fails for an unknown one. */
export function testCommonRules(
  suite: Suite,
  name: string,
  call: StreamCall,
): void {
  testCallRules(suite, name, call);
  suite.test(`${name} of an unknown stream is NOT_FOUND`, async (store) => {
    const streamId = newStreamId();
    await assertFails(call(store.storage, streamId), {
      code: "NOT_FOUND",
      reason: "stream_not_found",
      details: { streamId },
    });
    assert.equal(await store.storage.getStreamsNumber(), 0);
  });
}

/** Tests of every operation on one stream. */
export function testCallRules(
  suite: Suite,
  name: string,
  call: StreamCall,
): void {
  suite.test(`${name} refuses bad stream ids`, async ({ storage }) => {
    for (const id of BAD_IDS) {
      await assertFails(call(storage, id as StreamId), {
        code: "BAD_STREAM_ID",
        details: { argument: "streamId" },
      });
    }
    assert.equal(await storage.getStreamsNumber(), 0);
  });
  testOptionRules(
    suite,
    name,
    (storage, options) => call(storage, newStreamId(), options),
  );
}

/** Tests of every operation. */
export function testOptionRules(
  suite: Suite,
  name: string,
  call: (
    storage: StreamStorage,
    options?: OperationOptions,
  ) => Promise<unknown>,
): void {
  suite.test(`${name} obeys its signal and fails after close`, async (store) => {
    const { storage } = store;
    const reason = new Error("the caller's own");
    const signal = AbortSignal.abort(reason);
    await assert.rejects(call(storage, { signal }), (error) => {
      assertStorageError(error, { code: "CANCELED", operation: name });
      assert.equal((error as Error).cause, reason);
      return true;
    });
    assert.equal(await storage.getStreamsNumber(), 0);
    await assertFails(
      call(storage, { signal: "soon" as unknown as AbortSignal }),
      {
        code: "INVALID_ARGUMENT",
        details: { argument: "options.signal" },
      },
    );
    await storage.close();
    await assertFails(call(storage), {
      code: "FAILED_PRECONDITION",
      reason: "closed",
    });
  });
}

/** A faulty call and the error that must refuse it. */
export interface FaultyCall {
  /** What is wrong, for the messages of the test. */
  fault: string;
  /** The name of the argument in the error's details. */
  argument: string;
  /** Default `INVALID_ARGUMENT`. */
  code?: "INVALID_ARGUMENT" | "INTERNAL" | "BAD_STREAM_ID";
  /** Checked if given. */
  reason?: string;
  call: (storage: StreamStorage) => Promise<unknown>;
}

/**
 * One test for all faulty arguments of an operation. The calls name an unknown
 * stream, so they fail with `NOT_FOUND` if the check misses the fault.
 */
export function testFaultyCalls(
  suite: Suite,
  name: string,
  calls: readonly FaultyCall[],
): void {
  suite.test(`${name} refuses malformed arguments`, async ({ storage }) => {
    for (const { fault, argument, code, reason, call } of calls) {
      try {
        await assertFails(call(storage), {
          code: code ?? "INVALID_ARGUMENT",
          ...(reason === undefined ? {} : { reason }),
          details: { argument },
        });
      } catch (cause) {
        throw new Error(`${name}, ${fault}: ${String(cause)}`, { cause });
      }
    }
    assert.equal(await storage.getStreamsNumber(), 0);
  });
}

/** Values that are not block numbers, with what is wrong with each. */
export const BAD_NUMBERS: readonly [fault: string, value: bigint][] = [
  ["negative", -1n],
  ["above int64", 2n ** 63n],
  ["a number", 1 as unknown as bigint],
  ["a string", "1" as unknown as bigint],
  ["undefined", undefined as unknown as bigint],
  ["null", null as unknown as bigint],
];

/** Values that are not slots, sizes or counts. */
export const BAD_COUNTS: readonly [fault: string, value: number][] = [
  ["negative", -1],
  ["a fraction", 0.5],
  ["NaN", NaN],
  ["infinite", Infinity],
  ["above 2^53 - 1", 2 ** 53],
  ["a bigint", 1n as unknown as number],
  ["a string", "1" as unknown as number],
  ["null", null as unknown as number],
];

/** Values that are not data: no bytes, or empty. */
export const BAD_DATA: readonly [fault: string, value: Uint8Array][] = [
  ["empty", new Uint8Array()],
  ["a string", "data" as unknown as Uint8Array],
  ["an array", [1, 2] as unknown as Uint8Array],
  ["an ArrayBuffer", new ArrayBuffer(2) as unknown as Uint8Array],
  ["undefined", undefined as unknown as Uint8Array],
  ["null", null as unknown as Uint8Array],
];

/** Faulty calls from a list of bad values. */
export function faultsOf<T>(
  argument: string,
  values: readonly [fault: string, value: T][],
  call: (storage: StreamStorage, value: T) => Promise<unknown>,
): FaultyCall[] {
  return values.map(([fault, value]) => ({
    fault: `${argument} ${fault}`,
    argument,
    call: (storage) => call(storage, value),
  }));
}
