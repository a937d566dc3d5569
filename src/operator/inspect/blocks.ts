/** Lists the blocks of one stream, or reads one of them. */

import { operationError } from "../../database/failures.ts";
import { bind } from "../../database/statement.ts";
import { selectStreamRow } from "../../postgres/sql/streams.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { locationOf } from "../location.ts";
import { openPatientCore, reading } from "../reading.ts";
import { findStream } from "./find_stream.ts";
import { selectBlock, selectBlockSizes, selectPlaces } from "./inspect_sql.ts";
import type {
  BlockSizes,
  ListBlocksOptions,
  ReadBlockOptions,
  StoredBlock,
} from "./types.ts";

const perPage = 1000n;
const lastNumber = 2n ** 63n - 1n;

/**
 * Yields the numbers and sizes of a stream's blocks, in pages, without reading
 * their data.
 *
 * @throws {StreamStorageError} while it is iterated: as `inspectStream`.
 */
export async function* listBlocks(
  { streamId: given, from = 0n, to = lastNumber, ...options }:
    ListBlocksOptions,
): AsyncGenerator<BlockSizes[], void, undefined> {
  const name = "listBlocks";
  const { signal } = options;
  try {
    await using core = await openPatientCore(options);
    const { catalog, transactions } = core;
    const streamId = await findStream(core, given, { name, signal });
    const [{ rows: [row] }] = await transactions.read({ name, signal }, [
      bind(catalog.of(streamId, selectStreamRow), streamId),
    ]);
    if (row === undefined) throw streamNotFound(streamId);
    const isInside = locationOf(row[1]) === "database";
    const select = catalog.of(
      streamId,
      isInside ? selectBlockSizes : selectPlaces,
    );
    for (let next = from; next <= to;) {
      const [{ rows }] = await transactions.read(
        { name, tags: streamId, signal },
        [bind(select, streamId, next, to, perPage)],
      );
      const last = rows.at(-1);
      if (last === undefined) return;
      yield rows.map(([number, bytes, more]) =>
        isInside
          ? { number, bytes, snapshotBytes: more }
          : { number, bytes, snapshotBytes: 0n, startByte: more }
      );
      next = last[0] + 1n;
    }
  } catch (error) {
    throw operationError(name, error, signal);
  }
}

/**
 * Reads one block as it is stored in the database.
 *
 * @throws {StreamStorageError} as `inspectStream`; MINIBLOCKS_NOT_FOUND
 *   (`miniblock_not_found`): the database has no block of this number.
 */
export async function readBlock(
  { streamId: given, number, ...options }: ReadBlockOptions,
): Promise<StoredBlock> {
  const name = "readBlock";
  return await reading(name, options, async (core, signal) => {
    const { catalog, transactions } = core;
    const streamId = await findStream(core, given, { name, signal });
    const [streams, blocks] = await transactions.read(
      { name, tags: streamId, signal },
      [
        bind(catalog.of(streamId, selectStreamRow), streamId),
        bind(catalog.of(streamId, selectBlock), streamId, number),
      ],
    );
    const [stream] = streams.rows;
    if (stream === undefined) throw streamNotFound(streamId);
    const [block] = blocks.rows;
    if (block !== undefined) {
      const [data, snapshot] = block;
      return { streamId, number, data, snapshot };
    }
    const location = locationOf(stream[1]);
    const where = location === "database"
      ? "is not stored"
      : `is in object storage (${location}), if it is stored`;
    throw new StreamStorageError({
      code: "MINIBLOCKS_NOT_FOUND",
      message: `Block ${number} of stream ${streamId} ${where}`,
      details: { reason: "miniblock_not_found", streamId, location },
    });
  });
}
