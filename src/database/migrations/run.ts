/** Runs a plan's steps, up or down. */

import pRetry from "p-retry";
import { sqlStateOf } from "../failures.ts";
import type { MigrationConnection } from "./connection.ts";
import type { MigrationStep } from "./plan.ts";
import type { RunProgress } from "./report.ts";
import type { RunTransaction } from "./transaction.ts";

/**
 * Altering a table of a running instance may deadlock with its writes now and
 * then, and the server may choose our transaction as the victim.
 */
const deadlockRetry = { retries: 4, minTimeout: 50, randomize: true };

/** The context in which steps run. */
export interface RunContext {
  connection: MigrationConnection;
  runTransaction: RunTransaction;
  progress: RunProgress;
  signal?: AbortSignal | undefined;
}

/**
 * Runs the steps in order, each transaction in one round trip. Returns the
 * nodes' versions among them.
 */
export async function runSteps(
  steps: readonly MigrationStep[],
  direction: "up to" | "down from",
  { connection, runTransaction, progress, signal }: RunContext,
): Promise<number[]> {
  progress.expect(steps.flatMap((step) => step.transactions).length);
  for (const { migration, transactions } of steps) {
    const version = migration.track === "own" ? "own version" : "version";
    progress.activity =
      `Migration ${direction} ${version} ${migration.version}`;
    for (const transaction of transactions) {
      signal?.throwIfAborted();
      await pRetry(() => runTransaction(connection, transaction), {
        ...deadlockRetry,
        shouldRetry: ({ error }) => sqlStateOf(error) === "40P01",
      });
      progress.advance();
    }
  }
  return steps.map((step) => step.migration)
    .filter(({ track }) => track === "node")
    .map(({ version }) => version);
}
