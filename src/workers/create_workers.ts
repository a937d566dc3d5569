import type { Background, Workers } from "../postgres/background.ts";
import type {
  StreamMaintenance,
  SweepOptions,
} from "../postgres/maintenance.ts";
import { checkSweep } from "../storage/arguments.ts";
import { Calls } from "./calls.ts";
import { systemClock } from "./clock.ts";
import { EphemeralSweeper } from "./ephemeral_sweeper.ts";
import { Gate } from "./gate.ts";
import type { Worker } from "./worker.ts";
import { WorkerLoop } from "./worker_loop.ts";

/** Milliseconds that a run may last; what is left is for the next. */
const runTimeoutMs = 600_000;

/** The workers of a store, and the maintenance that callers can ask for. */
export function createWorkers(background: Background): Workers {
  const { store, options, telemetry } = background;
  const { ephemeralSweepIntervalMs, ephemeralTtlMs } = options;
  const calls = new Calls(store);
  const gate = new Gate(Math.max(1, options.workerConcurrency));
  const loopOf = <W extends Worker>(worker: W, intervalMs: number) => ({
    worker,
    loop: new WorkerLoop(worker, {
      intervalMs,
      timeoutMs: runTimeoutMs,
      clock: systemClock,
      gate,
      onEvent: (event) => telemetry.workers.heard(worker.name, event),
      onRun: (run) => telemetry.workers.record(run),
    }),
    runs: options.workerConcurrency > 0 && intervalMs > 0,
  });
  const sweeper = loopOf(
    new EphemeralSweeper(store, ephemeralTtlMs),
    ephemeralSweepIntervalMs,
  );
  const all = [sweeper];
  const maintenance: StreamMaintenance = {
    sweepEphemeralStreams: (sweep: SweepOptions = {}) =>
      calls.call("sweepEphemeralStreams", sweep, (signal) => {
        checkSweep(sweep);
        const { loop, worker } = sweeper;
        return loop.run(signal, (signal) => worker.sweep(sweep, signal));
      }),
    workers: () =>
      all.filter(({ runs }) => runs).map(({ loop }) => statusOf(loop)),
  };
  return {
    maintenance,
    start: () => {
      for (const { loop, runs } of all) if (runs) loop.start();
    },
    stop: async () => {
      const loops = all.map(({ loop }) => loop.stop());
      await Promise.all([calls.close(), ...loops]);
    },
  };
}

function statusOf({ state }: WorkerLoop) {
  const { lastReport: _lastReport, ...status } = state;
  return status;
}
