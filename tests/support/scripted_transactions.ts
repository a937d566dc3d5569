/** Transactions over a pool whose answers a test lists. */
import assert from "node:assert/strict";
import { Fence } from "../../src/database/fence.ts";
import { ConnectionLostError, PgError } from "../../src/database/pg_error.ts";
import type { Pool } from "../../src/database/pool.ts";
import { bind, type Bound, statement } from "../../src/database/statement.ts";
import { TransactionRing } from "../../src/database/transaction_ring.ts";
import {
  Transactions,
  type TransactionsOptions,
} from "../../src/database/transactions.ts";

/** What each transaction runs. */
export const work = [
  bind(statement({ text: "SELECT 1", columns: ["int4"] })),
] as const;
/** What each write sends. */
export const send = () => work;
const done = [{ rows: [[1]], count: 1 }];

/** An error of the server. */
export const pgError = (sqlState: string, message = "refused", routine = "") =>
  new PgError(new Map([["C", sqlState], ["M", message], ["R", routine]]), 0);
/** A connection that was lost after the flush was sent. */
export const lostSent = () => new ConnectionLostError("Gone", true);
/** A connection that was lost before. */
export const lostUnsent = () => new ConnectionLostError("Gone", false);
/** Settings that allow one attempt. */
export const once = { attempts: 1, minDelayMs: 1, maxDelayMs: 2 };

/** A fence in memory. */
export const fenceOf = (onClosed = () => {}) =>
  new Fence({
    table: "owners",
    instanceId: "us",
    epoch: 1000n,
    onRaised() {},
    onClosed,
  });

/**
 * Makes transactions over a fake pool. Their attempts end as listed, and then
 * like the last one; so do those to raise the epoch, which succeed by default.
 */
export function scriptedTransactions(
  ends: readonly (Error | "done")[],
  { raises = ["done"], ...options }:
    & Partial<TransactionsOptions>
    & { raises?: readonly (Error | "done" | "gone")[] } = {},
) {
  const calls: { mode: string; deadline: number; epoch: bigint }[] = [];
  const epochs: bigint[] = [];
  const ring = new TransactionRing();
  ring.enabled = true;
  const fence = options.fence ?? fenceOf();
  const nth = <T>(list: readonly T[], n: number) =>
    list[Math.min(n, list.length - 1)]!;
  const raise = (bound: readonly Bound[]) => {
    const end = nth(raises, epochs.length);
    epochs.push(bound[1]!.values[2] as bigint);
    if (end instanceof Error) return Promise.reject(end);
    return Promise.resolve([
      done,
      { rows: [], count: +(end === "done") },
      { rows: [[1n]], count: 1 },
    ]);
  };
  const pool = {
    run: (
      bound: readonly Bound[],
      mode: string,
      _signal: AbortSignal | undefined,
      deadline: number,
    ) => {
      if (bound[1]?.statement.text.startsWith("UPDATE")) return raise(bound);
      const end = nth(ends, calls.length);
      calls.push({ mode, deadline, epoch: fence.epoch });
      return end === "done" ? Promise.resolve(done) : Promise.reject(end);
    },
  } as unknown as Pool;
  const transactions = new Transactions({
    ...{ readPool: pool, writePool: pool, fencePool: pool },
    fence,
    retry: { attempts: 4, minDelayMs: 1, maxDelayMs: 2 },
    operationTimeoutMs: 60_000,
    ring,
    ...options,
  });
  const run = {
    read: () => transactions.read(context, work),
    write: () => transactions.write(context, send),
  };
  return { transactions, run, calls, epochs, fence, ring };
}

/** What each transaction is called. */
export const context = { name: "test", tags: "stream" };

/** The error of this type with which the promise has to fail. */
export async function failure<E extends Error>(
  promise: Promise<unknown>,
  type: abstract new (...args: never[]) => E,
): Promise<E> {
  const error = await promise.then(
    () => assert.fail("Expected it to fail"),
    (error) => error,
  );
  assert.ok(error instanceof type, String(error));
  return error;
}
