/** Lists the streams that match a filter. */

import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import { invalidArgument } from "../../storage/contract_errors.ts";
import type { StreamType } from "../../storage/stream_id.ts";
import { operationError } from "../../database/failures.ts";
import type { StreamLocation } from "../status/types.ts";
import { openPatientCore } from "../reading.ts";
import { Throttle } from "../verify/throttle.ts";
import { bytesOf, type StreamSizes } from "./sizes.ts";
import {
  readSizes,
  type StreamRow,
  type WalkContext,
  walkRows,
} from "./walk.ts";

/**
 * The filter of {@linkcode listStreams}: a stream must match every given
 * member.
 */
export interface StreamFilter {
  /** Only streams of these types. */
  types?: readonly StreamType[];
  /** Only streams that are being uploaded, or only those that are not. */
  isEphemeral?: boolean;
  /** Only streams whose blocks are there. */
  location?: StreamLocation;
  /** Only streams whose ids begin with these hexadecimal digits. */
  prefix?: string;
  /** Only streams with more bytes than this in the database. */
  largerThan?: number;
  /**
   * Only streams with missing numbers between their blocks, or only those
   * without.
   */
  hasGaps?: boolean;
  /** Only streams with more events than this in the minipool. */
  minipoolOver?: number;
}

/** The options of {@linkcode listStreams}. */
export interface ListStreamsOptions extends StreamReaderOptions, StreamFilter {
  /**
   * Only ids after this one. Pass the last id of a page to get the next page.
   */
  after?: string;
  /** The most bytes a second that the server has to read. Default: no limit. */
  rate?: number;
}

const operation = "listStreams";

/**
 * Yields streams with their sizes, in pages, in the order of their ids. Filters
 * on a stream's row (`types`, `isEphemeral`, `location`, `prefix`) are cheap;
 * the others examine every stream.
 *
 * ```ts
 * import { listStreams } from "@towns/stream-storage/operator";
 *
 * for await (const page of listStreams({ url, schema, hasGaps: true })) {
 *   for (const { streamId } of page) console.log(streamId);
 * }
 * ```
 *
 * @throws {StreamStorageError} while it is iterated: as `openStreamReader`;
 *   INVALID_ARGUMENT.
 */
export async function* listStreams(
  options: ListStreamsOptions,
): AsyncGenerator<StreamSizes[], void, undefined> {
  const {
    types,
    isEphemeral,
    location,
    prefix = "",
    largerThan,
    hasGaps,
    minipoolOver,
    after = "",
    rate,
    ...place
  } = options;
  if (!/^[0-9a-f]{0,64}$/.test(prefix)) {
    throw invalidArgument({
      argument: "prefix",
      reason: "bad_prefix",
      rule: "must be up to 64 lowercase hexadecimal digits",
    }).withOperation(operation);
  }
  const isRow = (row: StreamRow) =>
    (types?.includes(row.type) ?? true) &&
    (isEphemeral === undefined || row.isEphemeral === isEphemeral) &&
    (location === undefined || row.location === location);
  const fits = (stream: StreamSizes) =>
    (largerThan === undefined || bytesOf(stream) > largerThan) &&
    (hasGaps === undefined || stream.hasGaps === hasGaps) &&
    (minipoolOver === undefined || stream.events > minipoolOver);
  const { signal } = place;
  try {
    await using core = await openPatientCore(place);
    const context: WalkContext = {
      core,
      name: operation,
      signal,
      throttle: new Throttle(rate),
    };
    for await (const rows of walkRows(context, { after, prefix })) {
      const ids = rows.filter(isRow).map(({ streamId }) => streamId);
      const found = (await readSizes(context, ids)).filter(fits);
      if (found.length > 0) yield found;
    }
  } catch (error) {
    throw operationError(operation, error, signal);
  }
}
