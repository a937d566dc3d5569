/**
 * The one table of a store's operations. Its types make it exhaustive: an
 * operation that is declared in stream_reader.ts or stream_storage.ts and has
 * no row here, or a row of the wrong kind, does not compile. Everything that
 * needs "all operations" derives its list from here: both stores their methods
 * and checks, telemetry its names, and tests and programs their calls.
 *
 * @module
 */
import {
  checkCandidateCount,
  checkGenesis,
  checkGetStreams,
  checkRange,
  checkReadCandidate,
  checkReadMiniblocks,
  checkReadStream,
  checkReinitialize,
  checkTrimStream,
  checkWriteArchiveMiniblocks,
  checkWriteCandidate,
  checkWriteEphemeralMiniblock,
  checkWriteEvent,
  checkWriteMiniblocks,
  checkWritePrecedingMiniblocks,
} from "./arguments.ts";
import type { MiniblockDescriptor } from "./model.ts";
import type { StreamId } from "./stream_id.ts";
import type { StreamReader } from "./stream_reader.ts";
import type { StreamStorage } from "./stream_storage.ts";

/** Every method that takes options, so not the ways to close a store. */
export type OperationName = Exclude<keyof StreamStorage, symbol | "close">;

/** The arguments after the stream id, including options. */
export type ArgumentsOf<Name extends OperationName> =
  Parameters<StreamStorage[Name]> extends [StreamId, ...infer Rest] ? Rest
    : Parameters<StreamStorage[Name]>;

/** The same arguments without the options. */
export type GivenOf<Name extends OperationName> =
  Required<ArgumentsOf<Name>> extends [...infer Given, infer _Options] ? Given
    : never;

/** What an operation does. */
export type OperationKind =
  /** Reads one stream. */
  | "reads"
  /** Reads the list of streams; takes no stream id. */
  | "lists"
  /** Changes a stream that must exist. */
  | "writes"
  /** Takes a stream that need not exist, but an id that a node can read. */
  | "creates";

type KindOf<Name extends OperationName> = Name extends keyof StreamReader
  ? Parameters<StreamStorage[Name]> extends [StreamId, ...unknown[]] ? "reads"
  : "lists"
  : "writes" | "creates";

/** The names of the operations that have a certain kind. */
export type NameOf<Kind extends OperationKind> = {
  [Name in OperationName]: Kind extends KindOf<Name> ? Name : never;
}[OperationName];

/** The kind of stream that a sample call needs. */
export type SampleStream =
  /** An id that no stream has. */
  | "unknown"
  /**
   * Blocks 0 and 1 with snapshots, one event in the minipool of generation 2,
   * and a candidate for block 2 with {@linkcode sampleHash}.
   */
  | "regular"
  /** Without a minipool, with block 0. */
  | "archive"
  /** Ephemeral, with all blocks from 0 to 2. */
  | "upload";

/** One row of the table. */
export interface Operation<Name extends OperationName> {
  readonly kind: KindOf<Name>;
  /** Checks the arguments before anything is read or written. */
  readonly check?: (...args: ArgumentsOf<Name>) => void;
  /** Default `regular`, or `unknown` for operations that create a stream. */
  readonly on?: SampleStream;
  /** The arguments of a call that succeeds; it stores `content`, if any. */
  readonly sample: (content: Uint8Array) => GivenOf<Name>;
}

/** The hash of the candidate in a `regular` sample stream. */
export const sampleHash: Uint8Array = new Uint8Array(32).fill(1);

const none = (): [] => [];
const range = (): [bigint, bigint] => [0n, 9n];

function block(number: bigint, content: Uint8Array): MiniblockDescriptor {
  return { number, data: content, snapshot: content };
}

/** The table; see the head of this file. */
export const operations: {
  readonly [Name in OperationName]: Operation<Name>;
} = {
  createStreamStorage: {
    kind: "creates",
    check: checkGenesis,
    sample: (content) => [block(0n, content)],
  },
  createEphemeralStreamStorage: {
    kind: "creates",
    check: checkGenesis,
    sample: (content) => [block(0n, content)],
  },
  createStreamArchiveStorage: { kind: "creates", sample: none },
  reinitializeStreamStorage: {
    kind: "creates",
    check: checkReinitialize,
    sample: (content) => [
      [block(0n, content), block(1n, content)],
      0n,
      false,
    ],
  },
  deleteStream: { kind: "writes", sample: none },
  writeEvent: {
    kind: "writes",
    check: checkWriteEvent,
    sample: (content) => [2n, 1, content],
  },
  writeMiniblocks: {
    kind: "writes",
    check: checkWriteMiniblocks,
    sample: (content) => [
      [block(2n, content)],
      { generation: 3n, envelopes: [content] },
      { generation: 2n, size: 1 },
    ],
  },
  writePrecedingMiniblocks: {
    kind: "writes",
    check: checkWritePrecedingMiniblocks,
    sample: (content) => [[block(0n, content)]],
  },
  writeArchiveMiniblocks: {
    kind: "writes",
    check: checkWriteArchiveMiniblocks,
    on: "archive",
    sample: (content) => [1n, [block(1n, content)]],
  },
  writeEphemeralMiniblock: {
    kind: "creates",
    check: checkWriteEphemeralMiniblock,
    sample: (content) => [block(0n, content)],
  },
  normalizeEphemeralStream: { kind: "writes", on: "upload", sample: none },
  writeMiniblockCandidate: {
    kind: "writes",
    check: checkWriteCandidate,
    sample: (content) => [
      { ...block(2n, content), hash: new Uint8Array(32).fill(2) },
    ],
  },
  readMiniblockCandidate: {
    kind: "reads",
    check: checkReadCandidate,
    sample: () => [sampleHash, 2n],
  },
  getMiniblockCandidateCount: {
    kind: "reads",
    check: checkCandidateCount,
    sample: () => [2n],
  },
  readStreamFromLastSnapshot: {
    kind: "reads",
    check: checkReadStream,
    sample: () => [5],
  },
  readMiniblocks: { kind: "reads", check: checkReadMiniblocks, sample: range },
  streamMiniblocks: {
    kind: "reads",
    check: checkReadMiniblocks,
    sample: range,
  },
  readEphemeralMiniblockNums: { kind: "reads", on: "upload", sample: none },
  getLastMiniblockNumber: { kind: "reads", sample: none },
  getMaxArchivedMiniblockNumber: {
    kind: "reads",
    on: "archive",
    sample: none,
  },
  getMiniblockNumberRanges: { kind: "reads", sample: none },
  isStreamEphemeral: { kind: "reads", on: "upload", sample: none },
  streamMiniblocksStoredLocation: { kind: "reads", sample: none },
  getStreams: {
    kind: "lists",
    check: (options = {}) => checkGetStreams(options),
    sample: none,
  },
  getStreamsNumber: { kind: "lists", sample: none },
  trimStream: {
    kind: "writes",
    check: checkTrimStream,
    sample: () => [1n, [0n]],
  },
  debugReadStreamData: { kind: "reads", sample: none },
  debugReadStreamStatistics: { kind: "reads", sample: none },
  debugDeleteMiniblocks: {
    kind: "writes",
    check: checkRange,
    sample: () => [0n, 1n],
  },
};

/** The names of all operations, or of those of certain kinds. */
export function operationNames(...kinds: OperationKind[]): OperationName[] {
  const names = Object.keys(operations) as OperationName[];
  return kinds.length === 0
    ? names
    : names.filter((name) => kinds.includes(operations[name].kind));
}

/** Whether an operation has this name. */
export function isOperationName(name: unknown): name is OperationName {
  return typeof name === "string" && Object.hasOwn(operations, name);
}

/** Whether the operation changes what is stored. */
export function isWrite(name: OperationName): boolean {
  const { kind } = operations[name];
  return kind === "writes" || kind === "creates";
}
