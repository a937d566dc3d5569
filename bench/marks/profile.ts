/** Records what this thread does, by the profiler of the runtime's inspector. */

import { Session } from "node:inspector/promises";
import type { CpuProfile } from "../report/flame_graph.ts";

/** Microseconds between two samples. */
const intervalUs = 200;

/** Does some work, and returns its result and its profile. */
export async function profiled<T>(
  work: () => Promise<T>,
): Promise<{ result: T; profile: CpuProfile }> {
  const session = new Session();
  session.connect();
  try {
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", {
      interval: intervalUs,
    });
    await session.post("Profiler.start");
    const result = await work();
    const { profile } = await session.post("Profiler.stop");
    return { result, profile };
  } finally {
    session.disconnect();
  }
}
