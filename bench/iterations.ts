import type { BatchVariant, Operation } from "./workload.ts";

/**
 * For harnesses that time one function many times: each call of what is
 * returned takes the next operation of every client, ready to be run at once,
 * and prepares a new batch when the last one is used up.
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
