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
  /** Its number among all objects of this name, never given twice; GCS only. */
  generation?: string | undefined;
}

/** What a look at a name has found. */
export interface ObjectLook {
  /** Undefined: there is no object of this name. */
  object: StoredObject | undefined;
  /** The store's clock when it answered. */
  at: Date;
}

/** How a call on an object store can be stopped. */
export interface ObjectStoreOptions {
  signal?: AbortSignal | undefined;
}

/**
 * How a request that changes an object is sent, so that a copy which reaches
 * the store late finds itself refused. Each part is optional: without them the
 * request is unconditional.
 */
export interface ObjectChangeOptions extends ObjectStoreOptions {
  /**
   * Called when an attempt ended without a final answer: the store may execute
   * it later.
   */
  onLost?: (() => void) | undefined;
}

/** How an object is written. */
export interface PutObjectOptions extends ObjectChangeOptions {
  /**
   * Writes a new object only: one that is there already stays, and the call
   * resolves, so that the caller looks which of the two it has. Called right
   * before the one request that makes the object; with the id of the upload
   * when the object is made of parts. Resolves with the date that the request
   * carries, however late it is sent.
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
   * Milliseconds after its date for which a late request can still change what
   * is there by then. 0: it can't, its own condition refuses it.
   */
  readonly lateMs: number;
  /**
   * Writes an object of `size` bytes, all or nothing. The pieces are read once
   * and as fast as they can be sent; one part of them is held at a time.
   */
  putObject(
    name: string,
    size: number,
    pieces: AsyncIterable<Uint8Array>,
    options?: PutObjectOptions,
  ): Promise<void>;
  /**
   * Gives up an upload in parts. After that a late request to finish it finds
   * no such upload.
   */
  abandonUpload(
    name: string,
    uploadId: string,
    options?: ObjectStoreOptions,
  ): Promise<void>;
  /** What is known of a name, and the time there. */
  look(name: string, options?: ObjectStoreOptions): Promise<ObjectLook>;
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
  deleteObject(name: string, options?: DeleteObjectOptions): Promise<void>;
  /**
   * The objects whose names begin so, each once, page by page in the order of
   * their bytes; a page of them is held at a time. A store that lists others is
   * refused.
   */
  listObjects(
    prefix: string,
    options?: ObjectStoreOptions,
  ): AsyncIterable<StoredObject>;
}
