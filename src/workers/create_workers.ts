import type { Background, Workers } from "../postgres/background.ts";
import type {
  StreamMaintenance,
  WorkerStatus,
} from "../postgres/maintenance.ts";
import type { ResolvedOptions } from "../postgres/resolved_options.ts";
import { checkSweep, checkTrimStreams } from "../storage/arguments.ts";
import { Calls } from "./calls.ts";
import { systemClock } from "./clock.ts";
import { EphemeralSweeper } from "./ephemeral_sweeper.ts";
import { Gate } from "./gate.ts";
import { mediaMaintenance } from "./media_maintenance.ts";
import { MediaOffloader } from "./media_offloader.ts";
import { settingsOf, type WorkerSettings } from "./settings.ts";
import { StreamCounter } from "./stream_counter.ts";
import { StreamRemover } from "./stream_remover.ts";
import { StreamTrimmer } from "./stream_trimmer.ts";
import type { Worker } from "./worker.ts";
import { faultOf, WorkerLoop } from "./worker_loop.ts";

/** Milliseconds that a run may last; the next run continues the rest. */
const runTimeoutMs = 600_000;

/** Uploading and reading back one large stream can take hours. */
const offloadTimeoutMs = 6 * 3_600_000;
/** Newly sealed streams wake the offloader; this is for postponed ones. */
const offloadIntervalMs = 60_000;

/** Milliseconds between runs of the trimmer that no wake-up starts. */
const trimIntervalMs = 60_000;

/** Deletions wake the remover; the interval is for those that failed. */
const removeIntervalMs = 60_000;

/** Milliseconds between two counts of the streams, at least. */
const countIntervalMs = 60_000;

/** Creates a store's workers, and the maintenance that callers can request. */
export function createWorkers(background: Background): Workers {
  const { store, options, telemetry, signal } = background;
  const settings = settingsOf(background);
  const workers = makeWorkers(background, settings);
  const { sweeper, trimmer, offloader, remover, counter } = workers;
  store.cache.add(trimmer.worker);
  telemetry.counts.onAsked(() => counter.loop.wake());
  heedNotices(store, workers);
  const calls = new Calls(signal, telemetry.operations, graceMsOf(options));
  const loops = [sweeper, trimmer, offloader, remover, counter]
    .flatMap((one) => one?.runs ? [one.loop] : []);
  return {
    maintenance: {
      ...mediaMaintenance(store, calls, offloader),
      ...streamMaintenance(calls, settings, workers),
      workers: () => loops.map(statusOf),
    },
    start: () => {
      for (const loop of loops) loop.start();
      if (trimmer.runs && trimmer.worker.isNeeded) trimmer.loop.wake();
      // Streams that were sealed before a restart have waited long enough.
      offloader?.loop.wake();
    },
    stop: async () => {
      await Promise.all([calls.close(), ...loops.map((loop) => loop.stop())]);
      if (trimmer.runs) await endOrderly(background, trimmer.worker);
    },
  };
}

/** Each with its loop; there is an offloader only with object storage. */
function makeWorkers(background: Background, settings: WorkerSettings) {
  const { store, options, telemetry } = background;
  const loopOf = loopMaker(background);
  const trimmer: WithLoop<StreamTrimmer> = loopOf(
    new StreamTrimmer({
      store,
      trimming: options.trimming,
      present: (signal) => settings.trimming.ask(signal),
      wake: () => trimmer.loop.wake(),
      onEvent: (event) => telemetry.workers.recordEvent(event),
    }),
    trimIntervalMs,
  );
  return {
    sweeper: loopOf(
      new EphemeralSweeper(store, settings.ephemeralTtlMs),
      options.ephemeralSweepIntervalMs,
    ),
    trimmer,
    offloader: store.media && loopOf(
      new MediaOffloader(store, store.media),
      offloadIntervalMs,
      offloadTimeoutMs,
    ),
    remover: loopOf(new StreamRemover(store), removeIntervalMs),
    counter: loopOf(
      new StreamCounter(store, telemetry.counts, systemClock),
      countIntervalMs,
    ),
  };
}

type StoreWorkers = ReturnType<typeof makeWorkers>;

/** What the store's operations tell its workers. */
function heedNotices(
  { notices }: Background["store"],
  { trimmer, remover, offloader }: StoreWorkers,
): void {
  notices.listen({
    snapshotWritten: (streamId) => {
      if (trimmer.runs) trimmer.worker.snapshotWritten(streamId);
    },
    restToRemove: () => {
      if (remover.runs) remover.loop.wake();
      return remover.runs;
    },
    mediaTask: () => offloader?.loop.wake(),
  });
}

function streamMaintenance(
  calls: Calls,
  settings: WorkerSettings,
  { sweeper, trimmer }: StoreWorkers,
): Pick<
  StreamMaintenance,
  "sweepEphemeralStreams" | "trimStreams" | "updateTrimming"
> {
  return {
    sweepEphemeralStreams: (sweep = {}) =>
      calls.call("sweepEphemeralStreams", sweep, (signal) => {
        checkSweep(sweep);
        const { loop, worker } = sweeper;
        return loop.run(signal, () => worker.sweep(sweep, signal));
      }),
    trimStreams: (trim = {}) =>
      calls.call("trimStreams", trim, (signal) => {
        checkTrimStreams(trim);
        const { loop, worker } = trimmer;
        return loop.run(signal, () => worker.trim(trim, signal));
      }),
    updateTrimming: (trimming) =>
      calls.call("updateTrimming", undefined, async (signal) => {
        const value = await settings.trimming.replace(trimming, signal);
        await trimmer.worker.replace(value);
      }),
  };
}

/** The time for which closing waits for everything that is running. */
function graceMsOf({ operationTimeoutMs }: ResolvedOptions): number {
  return 2 * operationTimeoutMs;
}

/** A worker and what runs it. */
interface WithLoop<W extends Worker> {
  worker: W;
  loop: WorkerLoop;
  /** Whether the worker runs by itself. */
  runs: boolean;
}

function loopMaker({ options, telemetry }: Background) {
  const { workerConcurrency } = options;
  const gate = new Gate(Math.max(1, workerConcurrency));
  return <W extends Worker>(
    worker: W,
    intervalMs: number,
    timeoutMs = runTimeoutMs,
  ): WithLoop<W> => {
    const runs = workerConcurrency > 0 && intervalMs > 0;
    if (runs) telemetry.workers.expect(worker.name);
    return {
      worker,
      loop: new WorkerLoop(worker, {
        intervalMs,
        timeoutMs,
        graceMs: graceMsOf(options),
        clock: systemClock,
        gate,
        onEvent: (event) => telemetry.workers.recordEvent(event),
        onRun: (run) => telemetry.workers.record(run),
      }),
      runs,
    };
  };
}

/** May fail, because it only saves the next start some work. */
async function endOrderly(
  { signal, telemetry }: Background,
  trimmer: StreamTrimmer,
): Promise<void> {
  if (signal.aborted) return;
  try {
    await trimmer.end();
  } catch (error) {
    telemetry.workers.recordEvent({
      code: "worker_failed",
      message: "The trimmer could not record that it has nothing left to do",
      details: { worker: trimmer.name, ...faultOf(error) },
    });
  }
}

function statusOf({ state }: WorkerLoop): WorkerStatus {
  const { lastReport, ...status } = state;
  if (lastReport === undefined) return status;
  const { done, failed } = lastReport;
  return { ...status, lastRun: { done, failed } };
}
