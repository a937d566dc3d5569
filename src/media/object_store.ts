/** What the storage needs of an object store; see bucket.ts for who does it. */

/** An object as a store lists it. */
export interface StoredObject {
  /** Its full name, `schema/streamId` for ours. */
  name: string;
  /** Bytes. */
  size: number;
  /** The store's own word for this content, quotes removed. */
  etag: string;
  /** When it was written, by the store's clock. */
  modifiedAt: Date;
}

/** How a call on an object store can be stopped. */
export interface ObjectStoreOptions {
  signal?: AbortSignal | undefined;
}

/** A range of an object's bytes. */
export interface ByteRange {
  start: number;
  size: number;
}

/** What is asked of an object store. */
export type ObjectStoreAction = "write" | "look" | "read" | "delete" | "list";

/** A call on an object store that has ended, its retries included. */
export interface ObjectStoreCall {
  action: ObjectStoreAction;
  milliseconds: number;
  /** The reason of its failure. */
  errorType: string | undefined;
}

/** Hears of calls; must not throw. */
export type ObjectStoreListener = (call: ObjectStoreCall) => void;

/** Where media streams can be. */
export type ObjectStoreProvider = "s3" | "gcs";

/**
 * A bucket. Every call is tried again as needed, ends by a timeout, and
 * rejects with a `StreamStorageError`: `MINIBLOCKS_NOT_FOUND` for an object
 * that is not there, else `DOWNSTREAM_NETWORK_ERROR`, with a reason.
 */
export interface ObjectStore {
  readonly provider: ObjectStoreProvider;
  /**
   * Writes an object of `size` bytes, all or nothing. The pieces are read once
   * and as fast as they can be sent; one part of them is held at a time.
   */
  putObject(
    name: string,
    size: number,
    pieces: AsyncIterable<Uint8Array>,
    options?: ObjectStoreOptions,
  ): Promise<void>;
  /** What is known of an object; undefined when there is none. */
  headObject(
    name: string,
    options?: ObjectStoreOptions,
  ): Promise<StoredObject | undefined>;
  /** Exactly these bytes, or an error. */
  getRange(
    name: string,
    range: ByteRange,
    options?: ObjectStoreOptions,
  ): Promise<Uint8Array>;
  /** Removes an object; one that is not there is removed. */
  deleteObject(name: string, options?: ObjectStoreOptions): Promise<void>;
  /** The objects whose names begin so; a page of them is held at a time. */
  listObjects(
    prefix: string,
    options?: ObjectStoreOptions,
  ): AsyncIterable<StoredObject>;
}
