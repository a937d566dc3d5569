/** Chooses streams and lists their ids. */

import { bind } from "../../../database/statement.ts";
import { selectStreamIds } from "../../../postgres/sql/streams.ts";
import type { ReadStore } from "../../../postgres/store.ts";
import {
  isStoredForm,
  parseStreamId,
  type StreamId,
  type StreamType,
  streamType,
} from "../../../storage/stream_id.ts";

/** A choice of streams. */
export interface StreamChoice {
  /** Only these streams. Default: all. */
  streamIds?: readonly string[];
  /** Only streams of these types. */
  types?: readonly StreamType[];
}

/**
 * Accepts the id of any stored stream, even one that no node could read.
 *
 * @throws {StreamStorageError} BAD_STREAM_ID.
 */
export function storedId(id: string): StreamId {
  return isStoredForm(id) ? id : parseStreamId(id);
}

/** The number of ids in a page. */
const pageIds = 1000n;

/** Yields the ids of the chosen streams that exist, ascending. */
export async function* streamIdsOf(
  { catalog, transactions }: ReadStore,
  { streamIds, types, after = "", name, signal }: StreamChoice & {
    /** Only ids greater than this one. */
    after?: string | undefined;
    name: string;
    signal?: AbortSignal | undefined;
  },
): AsyncGenerator<StreamId> {
  const isChosen = (id: StreamId) =>
    id > after && (types === undefined || types.includes(streamType(id)));
  if (streamIds !== undefined) {
    yield* [...new Set(streamIds.map(storedId))].sort().filter(isChosen);
    return;
  }
  for (let from = after;;) {
    const [{ rows }] = await transactions.read({ name, signal }, [
      bind(catalog.at("", selectStreamIds), from, pageIds),
    ]);
    yield* rows.map(([id]) => id as StreamId).filter(isChosen);
    if (BigInt(rows.length) < pageIds) return;
    from = rows.at(-1)![0];
  }
}
