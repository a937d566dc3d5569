/**
 * Exports streams into one file (docs/export-format.md), each as it was at one
 * moment. Memory is bounded by a page of blocks for each stream that is read
 * ahead.
 */

import { bind } from "../../database/statement.ts";
import { openReadCore } from "../../postgres/open_reader.ts";
import type { ReadStore, StreamCall } from "../../postgres/store.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import {
  bytesOfBlocks,
  bytesOfTail,
  checkTransferOptions,
  Counting,
  defaultConcurrency,
} from "./counting.ts";
import { ExportEncoder } from "./format/encode.ts";
import { ExportFile, findResumption } from "./format/file.ts";
import { Digests, formatName, formatVersion } from "./format/records.ts";
import type { ExportOptions, ExportSummary, StreamProblem } from "./options.ts";
import { problemOf } from "./problem.ts";
import { prefetch } from "./source/prefetch.ts";
import {
  passStream,
  readWholeStream,
  type StreamTaker,
  type StreamView,
} from "./source/read_stream.ts";
import { selectServerVersion } from "./source/source_sql.ts";
import { streamIdsOf } from "./source/stream_ids.ts";
import { sourceReaderOptions } from "./source/reader_options.ts";
import { withTypedErrors } from "./typed_errors.ts";

const operation = "exportStreams";

/**
 * Writes streams into a file. It only reads the schema, without any effect on
 * the owner.
 *
 * Without `streamIds` it exports all streams. It leaves out streams that break
 * the rules of a stream or are deleted before their turn, and reports them to
 * `onProblem`. An interrupted export leaves a file without an end, which an
 * import refuses; `resume` continues it.
 *
 * @throws {StreamStorageError} as `openStreamReader`; `NOT_FOUND`: a stream of
 *   `streamIds` does not exist; `BAD_CONFIG` (`export_file`): the file exists,
 *   or can't be made; `CANCELED`: the signal.
 */
export async function exportStreams(
  options: ExportOptions,
): Promise<ExportSummary> {
  return await withTypedErrors(operation, options.signal, async () => {
    checkTransferOptions(options);
    return await run(options);
  });
}

async function run(options: ExportOptions): Promise<ExportSummary> {
  const { file, resume = false, signal } = options;
  const found = resume ? await findResumption(file, signal) : undefined;
  await using core = await openReadCore(sourceReaderOptions(options));
  const { catalog, transactions, media } = core;
  const store: ReadStore = { catalog, transactions, media, background: true };
  const counting = new Counting(options);
  const mark = found?.mark;
  const digests = mark && new Digests(mark.chain, mark.streams);
  const encoder = new ExportEncoder(digests);
  await using written = await ExportFile.open(
    file,
    found && (mark?.offset ?? 0),
  );
  const state: State = {
    store,
    counting,
    encoder,
    file: written,
    options,
    streams: 0,
  };
  if (mark === undefined) await begin(state);
  try {
    await encode(state, found?.after);
  } catch (error) {
    // Keep the finished streams, so that a resumed run need not read them
    // again.
    await written.write(encoder.take()).catch(() => {});
    throw error;
  }
  return {
    streams: state.streams + Number(mark?.streams ?? 0n),
    blocks: counting.blocks,
    bytes: counting.bytes,
    problems: counting.problems,
    seconds: counting.seconds,
  };
}

interface State {
  store: ReadStore;
  counting: Counting;
  encoder: ExportEncoder;
  file: ExportFile;
  options: ExportOptions;
  /** The number of streams that this run has written to the file. */
  streams: number;
}

async function begin({ store, encoder, options }: State): Promise<void> {
  encoder.header({
    format: formatName,
    version: formatVersion,
    writer: "@towns/stream-storage",
    source: await serverOf(store, options.signal),
  });
}

async function encode(state: State, after: string | undefined): Promise<void> {
  const { store, encoder, file, options } = state;
  const { signal, concurrency = defaultConcurrency } = options;
  const choice = { ...options, name: operation, after };
  const streams = prefetch(streamIdsOf(store, choice), {
    ahead: concurrency,
    work: (streamId: StreamId) =>
      readWholeStream(store, { name: operation, streamId, signal })
        .then((view) => ({ view }), (error: unknown) => ({ error })),
  });
  for await (const { item: streamId, result } of streams) {
    signal?.throwIfAborted();
    await pass(state, streamId, result);
    if (encoder.isFull) await file.write(encoder.take());
    state.counting.done(streamId);
  }
  encoder.trailer();
  await file.write(encoder.take());
  await file.finish();
}

async function pass(
  state: State,
  streamId: StreamId,
  found: { view: StreamView | undefined } | { error: unknown },
): Promise<void> {
  const { store, options } = state;
  const call: StreamCall = {
    name: operation,
    streamId,
    signal: options.signal,
  };
  try {
    if ("error" in found) throw found.error;
    const { view } = found;
    const isThere = view !== undefined &&
      await passStream(store, call, { taker: takerOf(state), view });
    if (isThere) state.streams++;
    else if (options.streamIds !== undefined) throw streamNotFound(streamId);
    else leaveOut(state, streamId, "gone", `Stream ${streamId} is gone`);
  } catch (error) {
    const found = problemOf(error);
    if (found === undefined) throw error;
    leaveOut(state, streamId, found.problem, found.message);
  }
}

function leaveOut(
  { counting, options }: State,
  streamId: StreamId,
  problem: StreamProblem["problem"],
  what: string,
): void {
  counting.problems++;
  options.onProblem?.({ streamId, problem, what });
}

function takerOf(
  { encoder, counting, file }: State,
): StreamTaker<boolean> {
  return {
    begin: (head) => encoder.begin(head),
    blocks: async (blocks) => {
      for (const block of blocks) encoder.block(block);
      await counting.passed(blocks.length, bytesOfBlocks(blocks));
      if (encoder.isFull) await file.write(encoder.take());
    },
    end: async (tail) => {
      encoder.end(tail);
      await counting.passed(0, bytesOfTail(tail));
      return true;
    },
    withdraw: () => encoder.withdraw(),
  };
}

async function serverOf(
  { transactions }: ReadStore,
  signal: AbortSignal | undefined,
): Promise<string> {
  const [{ rows: [row] }] = await transactions.read(
    { name: operation, signal },
    [bind(selectServerVersion)],
  );
  return `PostgreSQL ${row![0]}`;
}
