import type { ByteRange, ObjectStore } from "../media/object_store.ts";
import { mediaStorageNotConfigured } from "../storage/contract_errors.ts";
import { StreamStorageError } from "../storage/errors.ts";
import { unlessAborted } from "../storage/unless_aborted.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** Where blocks are, as in `es.blockdata_ext`, where `D` is the database. */
export type ExternalLocation = "S" | "G";

/** What a {@linkcode Media} is made of. */
export interface MediaParts {
  objects: ObjectStore;
  schema: string;
  /** Moves existing streams, too, not only streams sealed from now on. */
  migrateExisting: boolean;
  /** Milliseconds that a caller waits for bytes; many bytes add to it. */
  readTimeoutMs: number;
  /** Called with the number of bytes of blocks moved there. */
  onMoved(bytes: number): void;
}

/** The slowest rate at which a caller waits for bytes. */
const minBytesPerSecond = 1024 * 1024;

/** The object storage of a store. */
export class Media {
  readonly objects: ObjectStore;
  readonly location: ExternalLocation;
  readonly migrateExisting: boolean;
  /** Receives the number of bytes of blocks moved there. */
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

  /** The prefix of all objects of this store. */
  get prefix(): string {
    return `${this.#schema}/`;
  }

  /** The object of a stream, named as the nodes name it. */
  nameOf(streamId: StreamId): string {
    return this.prefix + streamId;
  }

  /**
   * Reads bytes of a stream's object. A caller waits for a limited time,
   * retries included; with `isPatient`, the time is that of the object
   * storage's retries.
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
   * Runs changes of a stream's object one after another. Otherwise a deletion
   * decided on before a stream was moved could delete the stream's new object.
   * The signal ends only the wait.
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
    message:
      `Object storage returned no miniblocks of stream ${streamId} within ` +
      `${timeoutMs} ms`,
    details: { reason: "object_storage_timeout", streamId, timeoutMs },
    retryable: true,
  });
}

/** The object storage of a stream's blocks; throws if it is not configured. */
export function mediaAt(
  { media }: { media?: Media | undefined },
  location: string,
  streamId: StreamId,
): Media {
  if (media?.location === location) return media;
  throw mediaStorageNotConfigured(location === "G" ? "gcs" : "s3", streamId);
}
