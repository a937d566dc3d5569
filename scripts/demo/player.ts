import type { StreamStorage } from "../../mod.ts";
import { mapConcurrently } from "./concurrency.ts";
import type { Step, StreamHistory } from "./stream_author.ts";

/** How to play a history. */
export interface PlayOptions {
  /** How many streams are written at the same time. Default 8. */
  concurrency?: number;
  /** Stops the play between two steps, with the signal's reason. */
  signal?: AbortSignal;
  /** Called after every step. */
  onStep?: (step: Step) => void;
}

/** Writes histories to a storage: several streams at once, each in order. */
export async function play(
  storage: StreamStorage,
  histories: readonly StreamHistory[],
  options: PlayOptions = {},
): Promise<void> {
  const { concurrency = 8, signal, onStep } = options;
  await mapConcurrently(histories, concurrency, async ({ steps }) => {
    for (const step of steps) {
      signal?.throwIfAborted();
      await step.run(storage);
      onStep?.(step);
    }
  });
}
