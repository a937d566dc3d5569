/** Runs a plan's steps; what going up and going down have in common. */

import pRetry from "p-retry";
import { sqlStateOf } from "../failures.ts";
import type { MigrationConnection } from "./connection.ts";
import type { MigrationStep } from "./plan.ts";
import type { RunProgress } from "./report.ts";
import { runTransaction } from "./transaction.ts";

/**
 * A table of an instance that still runs is altered while it is written to:
 * now and then that is a deadlock, and the server may choose us to give in.
 */
const deadlockRetry = { retries: 4, minTimeout: 50, randomize: true };

/** What steps are run with. */
export interface RunContext {
  connection: MigrationConnection;
  progress: RunProgress;
  signal?: AbortSignal | undefined;
}

/**
 * Runs the steps in order, each transaction in one round trip; returns the
 * nodes' versions among them.
 */
export async function runSteps(
  steps: readonly MigrationStep[],
  direction: "up to" | "down from",
  { connection, progress, signal }: RunContext,
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
