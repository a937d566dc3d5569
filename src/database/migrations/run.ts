/** Runs a plan's steps; what going up and going down have in common. */

import pRetry from "p-retry";
import { sqlStateOf } from "../failures.ts";
import type { MigrationConnection } from "./connection.ts";
import type { MigrationStep } from "./plan.ts";
import type { ProgressTeller } from "./report.ts";
import { runTransaction } from "./transaction.ts";

/**
 * A table of an instance that still runs is altered while it is written to:
 * now and then that is a deadlock, and the server may choose us to give in.
 */
const deadlockRetry = { retries: 4, minTimeout: 50, randomize: true };

/** What {@linkcode runSteps} is given beside the steps. */
export interface RunContext {
  connection: MigrationConnection;
  progress: ProgressTeller;
  direction: "up" | "down";
  signal?: AbortSignal | undefined;
  /** Told what is about to be done, for the text of an error. */
  onActivity(activity: string): void;
}

/** Runs the steps in order, each transaction in one round trip. */
export async function runSteps(
  steps: readonly MigrationStep[],
  context: RunContext,
): Promise<void> {
  const { connection, progress, direction, signal } = context;
  progress.expect(steps.flatMap((step) => step.transactions).length);
  for (const { migration, transactions } of steps) {
    const track = migration.track === "own" ? "own version" : "version";
    const label = direction === "up"
      ? `up to ${track} ${migration.version}`
      : `down from ${track} ${migration.version}`;
    context.onActivity(`Migration ${label}`);
    for (const transaction of transactions) {
      signal?.throwIfAborted();
      await pRetry(() => runTransaction(connection, transaction), {
        ...deadlockRetry,
        shouldRetry: ({ error }) => sqlStateOf(error) === "40P01",
      });
      progress.advance(label);
    }
  }
}

/** The nodes' versions among the steps. */
export function nodeVersionsOf(steps: readonly MigrationStep[]): number[] {
  return steps.map((step) => step.migration)
    .filter(({ track }) => track === "node")
    .map(({ version }) => version);
}
