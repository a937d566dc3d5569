/** What the storage needs of an object store; bucket.ts implements it. */

/** An object as a store lists it. */
export interface StoredObject {
  /** Its full name, `schema/streamId` for ours. */
  name: string;
  /** Bytes. */
  size: number;
  /** The store's own identifier of this content, without quotes. */
  etag: string;
  /** When it was written, by the store's clock. */
  modifiedAt: Date;
  /** Its number among all objects of this name, never given twice; GCS only. */
  generation?: string | undefined;
}

/** What was found at a name. */
export interface ObjectLook {
  /** `undefined` if there is no object of this name. */
  object: StoredObject | undefined;
  /** The store's clock at the time of its answer. */
  at: Date;
}

/** How a call to an object store can be stopped. */
export interface ObjectStoreOptions {
  signal?: AbortSignal | undefined;
}

/**
 * How a request that changes an object is sent, so that the store refuses a
 * copy that arrives late. Each part is optional; without any, the request is
 * unconditional.
 */
export interface ObjectChangeOptions extends ObjectStoreOptions {
  /**
   * Called when an attempt ended without a final answer, so that the store may
   * still execute it.
   */
  onLost?: (() => void) | undefined;
}

/** How an object is written. */
export interface PutObjectOptions extends ObjectChangeOptions {
  /**
   * Writes a new object only: an existing one stays, and the call resolves, so
   * that the caller must look which of the two is there. Called right before
   * the one request that makes the object, with the id of the upload if the
   * object is made of parts. Resolves with the date that the request carries,
   * however late it is sent.
   */
  begin?: ((uploadId: string | undefined) => Promise<Date>) | undefined;
}

/** How an object is deleted. */
export interface DeleteObjectOptions extends ObjectChangeOptions {
  /** Deletes this very object; another one stays, and the call rejects. */
  expected?: StoredObject | undefined;
  /** The date that the request carries, however late it is sent. */
  date?: Date | undefined;
}

/** A range of an object's bytes. */
export interface ByteRange {
  start: number;
  size: number;
}

/** The kinds of calls to an object store. */
export type ObjectStoreAction = "write" | "look" | "read" | "delete" | "list";

/** A finished call to an object store, including its retries. */
export interface ObjectStoreCall {
  action: ObjectStoreAction;
  milliseconds: number;
  /** The reason of the failure, if it failed. */
  errorType: string | undefined;
}

/** Receives each finished call; must not throw. */
export type ObjectStoreListener = (call: ObjectStoreCall) => void;

/** The providers that can hold media streams. */
export type ObjectStoreProvider = "s3" | "gcs";

/**
 * A bucket. Every call is retried as needed, ends by a timeout, and rejects
 * with a `StreamStorageError`: `MINIBLOCKS_NOT_FOUND` for an object that does
 * not exist, otherwise `DOWNSTREAM_NETWORK_ERROR`, with a reason.
 */
export interface ObjectStore {
  readonly provider: ObjectStoreProvider;
  /**
   * How many milliseconds after its date a late request can still change what
   * is there by then. 0: never, because its own condition refuses it.
   */
  readonly lateMs: number;
  /**
   * Writes an object of `size` bytes, all or nothing. The pieces are read once,
   * as fast as they can be sent; one part is held in memory at a time.
   */
  putObject(
    name: string,
    size: number,
    pieces: AsyncIterable<Uint8Array>,
    options?: PutObjectOptions,
  ): Promise<void>;
  /**
   * Gives up an upload in parts, so that a late request to complete it fails.
   */
  abandonUpload(
    name: string,
    uploadId: string,
    options?: ObjectStoreOptions,
  ): Promise<void>;
  /** Looks up a name, and the store's time. */
  look(name: string, options?: ObjectStoreOptions): Promise<ObjectLook>;
  /** Looks up an object; `undefined` when there is none. */
  headObject(
    name: string,
    options?: ObjectStoreOptions,
  ): Promise<StoredObject | undefined>;
  /** Reads exactly these bytes, or fails. */
  getRange(
    name: string,
    range: ByteRange,
    options?: ObjectStoreOptions,
  ): Promise<Uint8Array>;
  /** Removes an object; succeeds if it does not exist. */
  deleteObject(name: string, options?: DeleteObjectOptions): Promise<void>;
  /**
   * Lists the objects whose names begin with a prefix, each once, in the order
   * of their bytes. One page is held in memory at a time. A listing with other
   * names is refused.
   */
  listObjects(
    prefix: string,
    options?: ObjectStoreOptions,
  ): AsyncIterable<StoredObject>;
}
