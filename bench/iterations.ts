import type { BatchVariant, Operation } from "./workload.ts";

/**
 * Divides batches into iterations, for harnesses that time one function many
 * times. Each call of the returned function resolves with the next operation of
 * every client, ready to run. It prepares a new batch when the last one is used
 * up.
 */
export function iterationsOf(
  variant: BatchVariant,
): () => Promise<Operation[]> {
  let steps: Operation[][] = [];
  return async () => {
    if (steps.length === 0) {
      const { clients } = await variant.nextBatch();
      steps = clients[0]!.map((_, i) => clients.map((calls) => calls[i]!));
    }
    return steps.shift()!;
  };
}

/** Runs the operations at once. */
export async function runAtOnce(operations: readonly Operation[]) {
  await Promise.all(operations.map((operation) => operation()));
}
