import type {
  FailedStream,
  OffloadMediaReport,
} from "../postgres/maintenance.ts";
import type { Media } from "../postgres/media.ts";
import {
  deleteObject,
  listUnsettled,
  settleObject,
} from "../postgres/operations/media_objects.ts";
import {
  type Aside,
  dropTask,
  dropVoidTasks,
  listDueTasks,
  listUnmoved,
  type MediaTask,
  setAside,
} from "../postgres/operations/media_tasks.ts";
import { nameRests } from "../postgres/operations/object_changes.ts";
import { offloadStream } from "../postgres/operations/offload.ts";
import type { Store } from "../postgres/store.ts";
import {
  isStreamStorageError,
  type StreamStorageError,
} from "../storage/errors.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { StreamFailures } from "./stream_failures.ts";
import type { Worker, WorkerReport } from "./worker.ts";

const name = "offloadMedia";
/** Few, because a run keeps other workers waiting; the next run continues. */
const tasksAtATime = 8;
const pageSize = 200;
/** Each stream holds a part of an object and a page of blocks. */
const streamsAtATime = 2;
const maxListed = 1000;
/** Sorts before every id of a media stream. */
const start = "ff";

/** A failure may be temporary. */
const briefly: Aside = { minMs: 60_000, maxMs: 86_400_000 };
/** A stream that can't be moved may be deleted and created anew some day. */
const long: Aside = { minMs: 86_400_000, maxMs: 30 * 86_400_000 };

/**
 * Moves sealed media streams into object storage, and deletes the objects of
 * streams that no longer exist. Its tasks are in a table, each written in the
 * transaction that requires it; existing streams are found by their ids. The
 * table also postpones a stream that fails, for longer each time, and a stream
 * whose object's name rests, until the rest is over. Last come objects that a
 * lost request may have left in the bucket.
 */
export class MediaOffloader implements Worker<WorkerReport> {
  readonly name = "media_offloader";
  readonly #store: Store;
  readonly #media: Media;
  /** Where the search for existing streams has got to; lost at a restart. */
  #after: string | undefined = start;

  constructor(store: Store, media: Media) {
    this.#store = store;
    this.#media = media;
  }

  /** Deals with the tasks that are due, and a page of existing streams. */
  async runOnce(signal: AbortSignal): Promise<WorkerReport> {
    const run = new Run(this.#store, this.#media, signal);
    const isMore = await run.tasks();
    this.#after = await run.existing(this.#after ?? start);
    await run.settle();
    const { offloaded, deletedObjects, failures } = run.report();
    return {
      done: offloaded + deletedObjects,
      failed: failures.length,
      more: isMore || this.#after !== undefined,
    };
  }

  /** Deals with all due tasks and existing streams; returns the full report. */
  async offload(signal: AbortSignal): Promise<OffloadMediaReport> {
    const run = new Run(this.#store, this.#media, signal);
    while (await run.tasks());
    for (let after: string | undefined = start; after !== undefined;) {
      after = await run.existing(after);
    }
    await run.settle();
    return run.report();
  }

  /** Deals with one stream, whatever its state. */
  async offloadOne(
    streamId: StreamId,
    signal: AbortSignal,
  ): Promise<OffloadMediaReport> {
    const run = new Run(this.#store, this.#media, signal);
    await run.move(streamId, false);
    return run.report();
  }
}

/** One run, with what it has done so far. */
class Run {
  readonly #store: Store;
  readonly #media: Media;
  readonly #signal: AbortSignal;
  readonly #failures = new StreamFailures();
  readonly #unfit: FailedStream[] = [];
  readonly #moved: StreamId[] = [];
  #offloaded = 0;
  #bytes = 0;
  #deleted = 0;

  constructor(store: Store, media: Media, signal: AbortSignal) {
    this.#store = store;
    this.#media = media;
    this.#signal = signal;
  }

  report(): OffloadMediaReport {
    return {
      offloaded: this.#offloaded,
      streamIds: this.#moved,
      bytes: this.#bytes,
      deletedObjects: this.#deleted,
      failures: [...this.#failures.list, ...this.#unfit],
    };
  }

  /** Deals with tasks that are due; returns true if there may be more. */
  async tasks(): Promise<boolean> {
    const tasks = await listDueTasks(this.#store, tasksAtATime, this.#signal);
    await dropVoidTasks(this.#store, tasks);
    await this.#deal(tasks.filter(({ hasVoid }) => !hasVoid));
    return tasks.length === tasksAtATime;
  }

  /** Moves existing streams after an id; returns the next id, if any. */
  async existing(after: string): Promise<string | undefined> {
    if (!this.#media.migrateExisting) return undefined;
    const { tasks, last } = await listUnmoved(
      this.#store,
      after,
      pageSize,
      this.#signal,
    );
    const taken = tasks.slice(0, tasksAtATime);
    await dropVoidTasks(this.#store, taken);
    await this.#deal(taken);
    return taken.length < tasks.length ? taken.at(-1)!.streamId : last;
  }

  /** Checks objects whose last change was never answered. */
  async settle(): Promise<void> {
    const streamIds = await listUnsettled(this.#store, tasksAtATime, {
      name,
      signal: this.#signal,
    });
    await this.#all(streamIds, (streamId) => {
      const call = { name, streamId, signal: this.#signal };
      return settleObject(this.#store, call, this.#media);
    });
  }

  /** Moves one stream; returns false if it has already been moved. */
  async move(streamId: StreamId, onlySealed: boolean): Promise<boolean> {
    const call = { name, streamId, signal: this.#signal };
    const moved = await offloadStream(this.#store, call, this.#media, {
      onlySealed,
    });
    if (moved === undefined) return false;
    this.#offloaded++;
    this.#bytes += moved.bytes;
    if (this.#moved.length < maxListed) this.#moved.push(streamId);
    return true;
  }

  /** Works on several at a time. The first that gives up stops the others. */
  async #all(
    streamIds: readonly StreamId[],
    deal: (streamId: StreamId) => Promise<void>,
  ): Promise<void> {
    const left = streamIds.values();
    let givenUp: { error: unknown } | undefined;
    const work = async () => {
      for (const streamId of left) {
        if (givenUp !== undefined) return;
        try {
          await this.#failures.guard(
            streamId,
            this.#signal,
            () => deal(streamId),
          );
        } catch (error) {
          givenUp ??= { error };
        }
      }
    };
    await Promise.all(Array.from({ length: streamsAtATime }, work));
    if (givenUp !== undefined) throw givenUp.error;
  }

  async #deal(tasks: readonly MediaTask[]): Promise<void> {
    const byId = new Map(tasks.map((task) => [task.streamId, task]));
    await this.#all([...byId.keys()], (id) => this.#dealWith(byId.get(id)!));
  }

  async #dealWith(task: MediaTask): Promise<void> {
    const { streamId, kind } = task;
    try {
      if (kind === "offload") {
        const isMoved = await this.move(streamId, true);
        if (!isMoved) await dropTask(this.#store, task);
        return;
      }
      const call = { name, streamId, signal: this.#signal };
      await deleteObject(this.#store, call, this.#media);
      this.#deleted++;
    } catch (error) {
      if (this.#signal.aborted || !isStreamStorageError(error)) throw error;
      await this.#setAside(task, error);
    }
  }

  async #setAside(task: MediaTask, error: StreamStorageError): Promise<void> {
    const { streamId } = task;
    if (error.code === "NOT_FOUND") {
      return await dropTask(this.#store, task);
    }
    const reason = String(error.details["reason"] ?? error.code);
    if (reason === nameRests) {
      // Not a failure. The pause varies by half: twice the rest is enough.
      const ms = 2 * Number(error.details["retryAfterMs"]);
      return await setAside(this.#store, task, reason, {
        minMs: ms,
        maxMs: ms,
      });
    }
    const isUnfit = error.code === "FAILED_PRECONDITION";
    await setAside(this.#store, task, reason, isUnfit ? long : briefly);
    if (!isUnfit) throw error;
    if (this.#unfit.length < maxListed) {
      this.#unfit.push({ streamId, code: error.code, reason });
    }
  }
}
