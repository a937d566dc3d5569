/**
 * Changing the object of a stream so that no late copy of a request does harm.
 *
 * The object of a stream is named after it, so a name is used again: by a
 * stream that was deleted and uploaded anew, or brought back and moved again. A
 * request whose answer was lost may be executed minutes later. A late DELETE
 * must not take the new object, a late PUT must not replace it.
 *
 *     look ──▶ write down ──▶ send ──▶ answered: strike out
 *                               └────▶ lost, or the process died: it stays
 *
 * 1. *look*: HEAD tells which object is there, and the store's time.
 * 2. *write down*: one transaction finds that we own the schema and that the
 *    stream does not use the object, and inserts a row for the change. An
 *    upload also needs that no earlier change may still be executed.
 * 3. *send*: every attempt carries the date of the look, and the condition that
 *    the store still has what the look has found.
 * 4. *strike out*: when all attempts were answered, the row goes.
 *
 * S3. The store refuses a signed request whose date is more than 15 minutes
 * off. The date is chosen before the row is written, and the row before the
 * request is sent, so a row whose date is 16 minutes past (by the store's own
 * clock) stands for nothing that can happen any more, even if its process slept
 * in between and sent the request much later. While there is a younger row, the
 * name rests: it is not uploaded to, and the stream waits in the database. So
 * when an upload begins, each earlier request was answered or is dead, and each
 * later one is written down under the fence by an owner after us, who ends our
 * commit, or in our own turn after it. Conditions (`If-None-Match`, `If-Match`)
 * make it less likely that a name must be cleaned; the proof needs none.
 *
 * GCS. Requests carry no date that is checked, but a PUT is executed only if
 * there is no object, and a DELETE only on the generation that was looked at;
 * generations are never given twice. What is verified and committed is
 * younger than every look of a former owner, so no DELETE of his names it, and
 * no PUT replaces it. An upload in parts takes no conditions; its id is in the
 * row, and it is given up before the name is uploaded to again.
 *
 * A row that stays is looked at when it is due: see `settleObject`.
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
import { streamChanged } from "./stream_state.ts";

/** The reason of a stream's waiting until its object's name is safe again. */
export const nameRests = "object_name_rests";

/** A change with an older date is over, or else another proof protects us. */
const overAfterMs = 16 * 60_000;

/** A change of an object, from the look to the end of its row. */
export class ObjectChange {
  /** Whether its row may be there, and a request may have been sent. */
  isBegun = false;
  /** Whether there was an object to delete, and it is gone. */
  hasDeleted = false;
  readonly #store: Store;
  readonly #call: StreamCall;
  readonly #media: Media;
  readonly #id = randomId();
  #at = new Date(0);
  #isLost = false;

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
   * later, removes one that is there already, and returns the upload's date.
   *
   * @throws {StreamStorageError} {@linkcode nameRests}: not yet.
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
    if (found.object === undefined) return found.at;
    await this.#delete(found.object);
    // The lost deletion could still take the new object.
    if (this.#isLost && objects.lateMs > 0) {
      throw restingName(streamId, objects.lateMs);
    }
    return found.at;
  };

  /**
   * Deletes an object that the stream does not use, if there is one that is to
   * go. False: the stream uses it.
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
    if (!isUnused) return false;
    this.isBegun = true;
    if (object !== undefined && isToGo(object.etag)) await this.#delete(object);
    return true;
  }

  /** Strikes out what is answered, and what is too old to be executed. */
  struckOut(): Bound {
    const { streamId } = this.#call;
    return bind(
      this.#store.catalog.of(streamId, deleteChanges),
      streamId,
      this.#isLost ? [] : [this.#id],
      BigInt(this.#at.getTime() - overAfterMs),
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

  /** Writes the change down; false: it was refused. */
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
   * Ends the uploads in parts that a lost request may still finish, where
   * nothing else would stop it.
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
