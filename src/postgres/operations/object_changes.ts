/**
 * Changes the object of a stream so that a late copy of a request does no harm.
 *
 * The object of a stream is named after the stream, so a name is used again
 * when the stream is deleted and uploaded anew, or brought back and moved
 * again. A request whose answer was lost may be executed minutes later. At that
 * time a DELETE would remove the new object, and a PUT would replace it.
 *
 *     look ──▶ record ──▶ send ──▶ answered: strike out
 *                           └────▶ lost, or the process died: the row stays
 *
 * 1. *look*: HEAD returns which object is there, and the store's time.
 * 2. *record*: one transaction behind the fence finds that the stream does not
 *    use the object, and inserts a row for the change. Before an upload it also
 *    finds that no earlier change can still be executed.
 * 3. *send*: every attempt carries the date of the look, and the condition that
 *    the store still has what the look found.
 * 4. *strike out*: when every attempt was answered, the row is deleted. Older
 *    rows of the stream are deleted only if the bucket holds nothing under its
 *    name that these rows alone lead to.
 *
 * S3. The store refuses a signed request whose date is more than 15 minutes
 * off. The date is chosen before the row is written, and the row is written
 * before the request is sent. So a row whose date is 16 minutes past, by the
 * store's own clock, stands for nothing that can still happen, even if its
 * process slept in between and sends the request only now. While a younger row
 * is there, the name *rests*: the stream waits in the database. When an upload
 * begins, every earlier request was therefore answered, or is refused. A later
 * request is recorded either by this process, in its turn after our commit, or
 * by a later owner, behind whose fence our commit fails. Where the server knows
 * conditions (`If-None-Match`, `If-Match`), they keep more late requests off;
 * the proof does not use them.
 *
 * GCS. The store checks no date, but executes a PUT only if there is no object,
 * and a DELETE only on the generation that the look found. It never uses a
 * generation twice. A DELETE is recorded after its look, so a former owner has
 * seen only generations older than our look, and the object that we verify is
 * younger than our look. An upload in parts takes no condition. Its id is in
 * the row, and the old upload is aborted before the name is uploaded to again.
 *
 * A row that stays is looked at when it is due; see `settleObject`.
 */

import { bind, type Bound } from "../../database/statement.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { Media } from "../media.ts";
import {
  deleteChanges,
  insertChange,
  insertOnlyChange,
  selectChanges,
} from "../sql/media_changes.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeOwnRows } from "../write_path/stream_write.ts";
import { findLocation } from "./external_blocks.ts";
import { streamChanged } from "../stream_changed.ts";

/** The reason why a stream waits until its object's name is safe again. */
export const nameRests = "object_name_rests";

/** A change with a date this long past is over, and its row is of no use. */
const overAfterMs = 16 * 60_000;

/** A change of an object, from the look until its row is deleted. */
export class ObjectChange {
  /** Whether its row may exist, and a request may have been sent. */
  isBegun = false;
  /** Whether there was an object to delete, and it is deleted. */
  hasDeleted = false;
  readonly #store: Store;
  readonly #call: StreamCall;
  readonly #media: Media;
  readonly #id = randomId();
  #at = new Date(0);
  #isLost = false;
  /** Whether the bucket holds no object of this name that is unused. */
  #isTidy = false;

  constructor(store: Store, call: StreamCall, media: Media) {
    this.#store = store;
    this.#call = call;
    this.#media = media;
  }

  /** To be called for an attempt that may still be executed. */
  readonly onLost = (): void => {
    this.#isLost = true;
  };

  /**
   * Begins an upload: makes sure that nothing can replace or delete its object
   * later, deletes an object that is there already, and returns the upload's
   * date.
   *
   * @throws {StreamStorageError} {@linkcode nameRests}: the name is not safe
   *   yet.
   */
  readonly beginUpload = async (
    uploadId: string | undefined,
  ): Promise<Date> => {
    const { objects } = this.#media;
    await this.#giveUpUploads();
    const found = await objects.look(this.#name, this.#options);
    this.#at = found.at;
    const { streamId } = this.#call;
    const values = this.#valuesOf(uploadId);
    const { catalog } = this.#store;
    const isBegun = await this.#write(
      objects.lateMs === 0
        ? bind(catalog.of(streamId, insertChange), ...values)
        : bind(
          catalog.of(streamId, insertOnlyChange),
          ...values,
          BigInt(found.at.getTime() - objects.lateMs),
        ),
    );
    if (!isBegun) throw await this.#refusal();
    this.isBegun = true;
    if (found.object !== undefined) await this.#delete(found.object);
    this.#isTidy = true;
    // The lost deletion could still delete the new object.
    if (this.#isLost && objects.lateMs > 0) {
      throw restingName(streamId, objects.lateMs);
    }
    return found.at;
  };

  /**
   * Deletes an object that the stream does not use, if there is one that
   * `isToGo` accepts. Returns false if the stream uses it.
   */
  async deleteUnused(
    isToGo: (etag: string) => boolean = () => true,
  ): Promise<boolean> {
    await this.#giveUpUploads();
    const { object, at } = await this.#media.objects.look(
      this.#name,
      this.#options,
    );
    this.#at = at;
    const { catalog } = this.#store;
    const { streamId } = this.#call;
    const isUnused = await this.#write(
      bind(catalog.of(streamId, insertChange), ...this.#valuesOf(undefined)),
    );
    this.isBegun = isUnused;
    if (isUnused && object !== undefined) {
      if (!isToGo(object.etag)) return true;
      await this.#delete(object);
    }
    this.#isTidy = true;
    return isUnused;
  }

  /**
   * Deletes the row of this change if every attempt was answered, and rows too
   * old to be executed. Old rows stay while the bucket may hold an object of
   * theirs that nothing else leads to.
   */
  struckOut(): Bound {
    const { streamId } = this.#call;
    return bind(
      this.#store.catalog.of(streamId, deleteChanges),
      streamId,
      this.#isLost ? [] : [this.#id],
      this.#isTidy ? BigInt(this.#at.getTime() - overAfterMs) : 0n,
    );
  }

  get #name(): string {
    return this.#media.nameOf(this.#call.streamId);
  }

  get #options() {
    return { signal: this.#call.signal };
  }

  #valuesOf(uploadId: string | undefined) {
    const { streamId } = this.#call;
    const date = BigInt(this.#at.getTime());
    const { location } = this.#media;
    return [streamId, this.#id, date, uploadId ?? null, location] as const;
  }

  /** Records the change; false if it was refused. */
  async #write(bound: Bound<[]>): Promise<boolean> {
    const { name, streamId } = this.#call;
    const context = { name, tags: streamId };
    const [{ count }] = await writeOwnRows(this.#store, context, [bound]);
    return count === 1;
  }

  async #delete(
    expected: Awaited<ReturnType<Media["objects"]["headObject"]>>,
  ): Promise<void> {
    await this.#media.objects.deleteObject(this.#name, {
      ...this.#options,
      expected,
      date: this.#at,
      onLost: this.onLost,
    });
    this.hasDeleted = true;
  }

  /**
   * Aborts uploads in parts that a lost request may still complete, if nothing
   * else would stop that request.
   */
  async #giveUpUploads(): Promise<void> {
    if (this.#media.objects.lateMs > 0) return;
    for (const [, uploadId] of await this.#readChanges()) {
      if (uploadId === null) continue;
      await this.#media.objects.abandonUpload(
        this.#name,
        uploadId,
        this.#options,
      );
    }
  }

  /** Why an upload can't begin. */
  async #refusal(): Promise<StreamStorageError> {
    const { streamId } = this.#call;
    const location = await findLocation(this.#store, this.#call);
    if (location === this.#media.location) return streamChanged(streamId);
    const dates = (await this.#readChanges()).map(([date]) => Number(date));
    const { lateMs } = this.#media.objects;
    const over = Math.max(0, ...dates) + lateMs - this.#at.getTime();
    return restingName(streamId, Math.max(over, 1000));
  }

  async #readChanges() {
    const { name, streamId, signal } = this.#call;
    const { catalog, transactions } = this.#store;
    const [{ rows }] = await transactions.read(
      { name, tags: streamId, signal },
      [bind(catalog.of(streamId, selectChanges), streamId)],
    );
    return rows;
  }
}

function restingName(
  streamId: StreamId,
  retryAfterMs: number,
): StreamStorageError {
  return new StreamStorageError({
    code: "DOWNSTREAM_NETWORK_ERROR",
    message: `Stream ${streamId} can't be moved to object storage yet: a ` +
      `request for its object was lost and may still be executed for up to ` +
      `${retryAfterMs} ms`,
    details: { reason: nameRests, streamId, retryAfterMs },
    retryable: true,
  });
}

function randomId(): bigint {
  const [id] = crypto.getRandomValues(new BigInt64Array(1));
  return id!;
}
