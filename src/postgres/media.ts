import type { ByteRange, ObjectStore } from "../media/object_store.ts";
import { mediaStorageNotConfigured } from "../storage/contract_errors.ts";
import { StreamStorageError } from "../storage/errors.ts";
import { unlessAborted } from "../storage/unless_aborted.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** Where blocks are, as `es.blockdata_ext` has it: `D` is the database. */
export type ExternalLocation = "S" | "G";

/** What a {@linkcode Media} is made of. */
export interface MediaParts {
  objects: ObjectStore;
  schema: string;
  /** Existing streams are moved too, not only those that are sealed now. */
  migrateExisting: boolean;
  /** Milliseconds that a caller waits for bytes, and more for many. */
  readTimeoutMs: number;
  /** Hears how many bytes of blocks have moved there. */
  onMoved(bytes: number): void;
}

/** Bytes that are waited for are expected to come at least so fast. */
const minBytesPerSecond = 1024 * 1024;

/** The object storage of a store. */
export class Media {
  readonly objects: ObjectStore;
  readonly location: ExternalLocation;
  readonly migrateExisting: boolean;
  /** Tells how many bytes of blocks have moved there. */
  readonly moved: (bytes: number) => void;
  readonly #schema: string;
  readonly #readTimeoutMs: number;
  readonly #turns = new Map<StreamId, Promise<void>>();

  constructor(
    { objects, schema, migrateExisting, readTimeoutMs, onMoved }: MediaParts,
  ) {
    this.moved = onMoved;
    this.objects = objects;
    this.location = objects.provider === "s3" ? "S" : "G";
    this.migrateExisting = migrateExisting;
    this.#schema = schema;
    this.#readTimeoutMs = readTimeoutMs;
  }

  /** What all objects of this store begin with. */
  get prefix(): string {
    return `${this.#schema}/`;
  }

  /** The object of a stream, named as the nodes name it. */
  nameOf(streamId: StreamId): string {
    return this.prefix + streamId;
  }

  /**
   * Reads bytes of a stream's object. For a caller within his time, retries
   * included; without a caller as long as the store is tried.
   */
  async read(
    streamId: StreamId,
    range: ByteRange,
    { signal, isPatient }: {
      signal?: AbortSignal | undefined;
      isPatient: boolean;
    },
  ): Promise<Uint8Array> {
    const name = this.nameOf(streamId);
    if (isPatient) return await this.objects.getRange(name, range, { signal });
    const timeoutMs = this.#readTimeoutMs +
      Math.ceil(range.size * 1000 / minBytesPerSecond);
    const late = AbortSignal.timeout(timeoutMs);
    try {
      return await this.objects.getRange(name, range, {
        signal: signal ? AbortSignal.any([signal, late]) : late,
      });
    } catch (error) {
      if (signal?.aborted || error !== late.reason) throw error;
      throw readTimedOut(streamId, timeoutMs);
    }
  }

  /**
   * Writes and deletes an object one after the other: a deletion that was
   * decided on before a stream was moved must not take its new object. The
   * signal ends the waiting only.
   */
  async turn<T>(
    streamId: StreamId,
    body: () => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const before = this.#turns.get(streamId) ?? Promise.resolve();
    const running = unlessAborted(signal, before).then(body);
    const ended = Promise.allSettled([before, running]).then(() => {});
    this.#turns.set(streamId, ended);
    try {
      return await running;
    } finally {
      void ended.then(() => {
        if (this.#turns.get(streamId) === ended) this.#turns.delete(streamId);
      });
    }
  }
}

function readTimedOut(
  streamId: StreamId,
  timeoutMs: number,
): StreamStorageError {
  return new StreamStorageError({
    code: "DEADLINE_EXCEEDED",
    message: `Object storage gave no miniblocks of stream ${streamId} within ` +
      `${timeoutMs} ms`,
    details: { reason: "object_storage_timeout", streamId, timeoutMs },
    retryable: true,
  });
}

/** The object storage that holds a stream's blocks. */
export function mediaAt(
  { media }: { media?: Media | undefined },
  location: string,
  streamId: StreamId,
): Media {
  if (media?.location === location) return media;
  throw mediaStorageNotConfigured(location === "G" ? "gcs" : "s3", streamId);
}
