/** Lists streams that have something in common. */

import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import { invalidArgument } from "../../storage/contract_errors.ts";
import type { StreamType } from "../../storage/stream_id.ts";
import { canceled } from "../../storage/contract_errors.ts";
import { toStorageError } from "../../database/failures.ts";
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

/** Which streams {@linkcode listStreams} tells of: those that fit all of it. */
export interface StreamFilter {
  /** Of one of these types. */
  types?: readonly StreamType[];
  /** Whether they are being uploaded. */
  isEphemeral?: boolean;
  /** Where their blocks are. */
  location?: StreamLocation;
  /** Their ids begin so: hexadecimal digits. */
  prefix?: string;
  /** With more bytes in the database. */
  largerThan?: number;
  /** With missing numbers between their blocks. */
  hasGaps?: boolean;
  /** With more events in the minipool. */
  minipoolOver?: number;
}

/** What {@linkcode listStreams} needs to know. */
export interface ListStreamsOptions extends StreamReaderOptions, StreamFilter {
  /** Only ids behind this one, to go on after the last of a page. */
  after?: string;
  /** Bytes a second at most that the server has to look at. Default: no limit. */
  rate?: number;
}

const operation = "listStreams";

/**
 * Yields streams with their sizes in the order of their ids, in pages. What is
 * asked for by rows alone (types, place, prefix) is cheap; the others look at each
 * stream.
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
    if (signal?.aborted) throw canceled(signal.reason).withOperation(operation);
    throw toStorageError(error).withOperation(operation);
  }
}
