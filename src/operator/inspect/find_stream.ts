/** Finds a stream by its id or the beginning of its id. */

import { bind } from "../../database/statement.ts";
import type { ReadCore } from "../../postgres/read_core.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { isStoredForm, type StreamId } from "../../storage/stream_id.ts";
import { selectRowsAfter } from "../streams/sizes_sql.ts";

/**
 * Returns the stream with this id, or the only one whose id begins so.
 *
 * @throws {StreamStorageError} NOT_FOUND; INVALID_ARGUMENT (`ambiguous_id`,
 *   `bad_stream_id`).
 */
export async function findStream(
  { catalog, transactions }: Pick<ReadCore, "catalog" | "transactions">,
  given: string,
  context: { name: string; signal?: AbortSignal | undefined },
): Promise<StreamId> {
  const operation = context.name;
  const text = given.toLowerCase().replace(/^0x/, "");
  if (isStoredForm(text)) return text;
  if (!/^[0-9a-f]{1,63}$/.test(text)) {
    throw refused(
      "bad_stream_id",
      "Stream id must be hexadecimal digits, 64 or the first of them",
    ).withOperation(operation);
  }
  const [{ rows }] = await transactions.read(context, [
    bind(catalog.at("r00", selectRowsAfter), text, 2n),
  ]);
  const found = rows.map(([id]) => id).filter((id) => id.startsWith(text));
  if (found.length === 1) return found[0] as StreamId;
  if (found.length === 0) throw streamNotFound(text).withOperation(operation);
  throw refused(
    "ambiguous_id",
    `More than one stream begins with ${text}: give more digits`,
  ).withOperation(operation);
}

function refused(reason: string, message: string): StreamStorageError {
  return new StreamStorageError({
    code: "INVALID_ARGUMENT",
    message,
    details: { reason, argument: "streamId" },
  });
}
