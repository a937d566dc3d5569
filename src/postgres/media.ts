import type { ObjectStore } from "../media/object_store.ts";
import { mediaStorageNotConfigured } from "../storage/contract_errors.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { Store } from "./store.ts";

/** Where blocks are, as `es.blockdata_ext` has it: `D` is the database. */
export type ExternalLocation = "S" | "G";

/** What a {@linkcode Media} is made of. */
export interface MediaParts {
  objects: ObjectStore;
  schema: string;
  /** Existing streams are moved too, not only those that are sealed now. */
  migrateExisting: boolean;
}

/** The object storage of a store. */
export class Media {
  readonly objects: ObjectStore;
  readonly location: ExternalLocation;
  readonly migrateExisting: boolean;
  /** Tells the offloader that there is work; it sets this. */
  wake: () => void = () => {};
  readonly #schema: string;
  readonly #turns = new Map<StreamId, Promise<void>>();

  constructor({ objects, schema, migrateExisting }: MediaParts) {
    this.objects = objects;
    this.location = objects.provider === "s3" ? "S" : "G";
    this.migrateExisting = migrateExisting;
    this.#schema = schema;
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
   * Writes and deletes an object one after the other: a deletion that was
   * decided on before a stream was moved must not take its new object.
   */
  async turn<T>(streamId: StreamId, body: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(streamId);
    const running = (before ?? Promise.resolve()).then(body);
    const ended = running.then(() => {}, () => {});
    this.#turns.set(streamId, ended);
    try {
      return await running;
    } finally {
      if (this.#turns.get(streamId) === ended) this.#turns.delete(streamId);
    }
  }
}

/** The object storage that holds a stream's blocks. */
export function mediaAt(
  { media }: Store,
  location: string,
  streamId: StreamId,
): Media {
  if (media?.location === location) return media;
  throw mediaStorageNotConfigured(location === "G" ? "gcs" : "s3", streamId);
}
