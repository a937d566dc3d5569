/** Time and CPU time of calls. */

import { availableParallelism } from "node:os";
import process from "node:process";
import { times } from "../data.ts";
import type { CpuMeter } from "../server_cpu.ts";
import type { Figures } from "./place.ts";

/** Leaves work out of the measurement; for one client only. */
export type Untimed = (work: () => Promise<unknown>) => Promise<void>;

/**
 * How often so many clients get an answer, each of which makes one call after
 * another for some seconds, at least one; the CPU time of this process; and, if
 * it can be read, that of the server, which counts untimed work, too.
 */
export async function throughput(
  clients: number,
  seconds: number,
  call: (untimed: Untimed) => Promise<unknown>,
  serverCpu?: CpuMeter,
): Promise<Figures> {
  const usedBefore = serverCpu?.() ?? 0;
  const clock = new Clock();
  let calls = 0;
  await Promise.all(times(clients, async () => {
    do {
      await call((work) => clock.without(work));
      calls++;
    } while (clock.ms < seconds * 1000);
  }));
  const { ms, cpuMs } = clock;
  const client = { perSecond: calls / ms * 1000, cpuMs: cpuMs / calls };
  if (serverCpu === undefined) return client;
  const serverCpuMs = (serverCpu() - usedBefore) / 1000 / calls;
  const mostPerSecond = cores * 1000 / (client.cpuMs + serverCpuMs);
  return { ...client, serverCpuMs, mostPerSecond };
}

/** Client and server share them. */
const cores = availableParallelism();

/** Time and CPU time since it was made, less what was left out. */
export class Clock {
  readonly #start = performance.now();
  readonly #used = process.cpuUsage();
  #ms = 0;
  #cpuMs = 0;

  get ms(): number {
    return performance.now() - this.#start - this.#ms;
  }

  get cpuMs(): number {
    const { user, system } = process.cpuUsage(this.#used);
    return (user + system) / 1000 - this.#cpuMs;
  }

  async without(work: () => Promise<unknown>): Promise<void> {
    const clock = new Clock();
    await work();
    this.#ms += clock.ms;
    this.#cpuMs += clock.cpuMs;
  }
}
