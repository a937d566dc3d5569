import assert from "node:assert/strict";
import type { Random } from "../random.ts";
import { isStreamStorageError } from "../../../src/storage/errors.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import {
  bytes,
  mediaGenesis,
  newStreamId,
} from "../../../src/testing/contract/support.ts";

/** Uploads files while the sweeper removes those that are not complete in time. */
export class UploadAuthor {
  readonly #random: Random;
  /** Complete uploads, which must stay, and their numbers of chunks. */
  readonly sealed = new Map<StreamId, number>();
  /** The number of uploads that were abandoned or swept. */
  abandoned = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Makes one upload, which chance or the sweeper may leave incomplete. */
  async step(storage: StreamStorage): Promise<void> {
    const random = this.#random;
    const id = newStreamId("media");
    const chunks = random.between(1, 4);
    const { genesis } = mediaGenesis(chunks);
    const numbers = Array.from({ length: chunks }, (_, i) => BigInt(i + 1));
    const isLate = random.chance(40);
    if (!isLate) await storage.createEphemeralStreamStorage(id, genesis);
    for (const number of random.chance(50) ? numbers.reverse() : numbers) {
      await storage.writeEphemeralMiniblock(id, {
        number,
        data: bytes(`chunk ${number} of ${id}`),
      });
    }
    if (isLate) await storage.writeEphemeralMiniblock(id, genesis);
    if (random.chance(20)) {
      this.abandoned++;
      return;
    }
    try {
      await storage.normalizeEphemeralStream(id);
      this.sealed.set(id, chunks);
    } catch (error) {
      // The sweeper took the upload, or its start, so that the rest began anew.
      const codes = ["NOT_FOUND", "MINIBLOCKS_STORAGE_FAILURE", "INTERNAL"];
      if (!isStreamStorageError(error) || !codes.includes(error.code)) {
        throw error;
      }
      this.abandoned++;
    }
  }

  /** Checks the last `count` complete uploads. */
  async check(storage: StreamStorage, count = 100): Promise<void> {
    for (const [id, chunks] of [...this.sealed].slice(-count)) {
      const { miniblocks } = await storage.readMiniblocks(
        id,
        0n,
        BigInt(chunks) + 1n,
      );
      assert.deepEqual(
        miniblocks.slice(1).map(({ data }) => data),
        Array.from(
          { length: chunks },
          (_, i) => bytes(`chunk ${i + 1} of ${id}`),
        ),
      );
    }
  }
}
