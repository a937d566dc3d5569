/**
 * The specified interface, written out a second time. `deno check` fails if a
 * signature of the package differs from it, in either direction.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as api from "../../mod.ts";
import type {
  MiniblockDescriptor,
  MiniblockRange,
  StreamId,
  StreamStorage,
  StreamStorageErrorCode,
  StreamType,
} from "../../mod.ts";

type Id = StreamId;
type Block = MiniblockDescriptor;
type Options = { signal?: AbortSignal };
type ReadOptions = Options & { omitSnapshot?: boolean };

interface SpecifiedBlock {
  number: bigint;
  data: Uint8Array;
  hash?: Uint8Array;
  snapshot?: Uint8Array;
  hasLegacySnapshot?: boolean;
}

interface SpecifiedRange {
  startInclusive: bigint;
  endInclusive: bigint;
  snapshotSeqNums: bigint[];
}

interface Specified extends AsyncDisposable {
  createStreamStorage(id: Id, genesis: Block, o?: Options): Promise<void>;
  createEphemeralStreamStorage(
    id: Id,
    genesis: Block,
    o?: Options,
  ): Promise<void>;
  createStreamArchiveStorage(id: Id, o?: Options): Promise<void>;
  reinitializeStreamStorage(
    id: Id,
    miniblocks: Block[],
    lastSnapshotMiniblockNum: bigint,
    updateExisting: boolean,
    o?: Options,
  ): Promise<void>;
  deleteStream(id: Id, o?: Options): Promise<void>;
  writeEvent(
    id: Id,
    minipoolGeneration: bigint,
    minipoolSlot: number,
    envelope: Uint8Array,
    o?: Options,
  ): Promise<void>;
  writeMiniblocks(
    id: Id,
    miniblocks: Block[],
    newMinipool: { generation: bigint; envelopes: Uint8Array[] },
    prevMinipool: { generation: bigint; size?: number },
    o?: Options,
  ): Promise<void>;
  writePrecedingMiniblocks(id: Id, blocks: Block[], o?: Options): Promise<void>;
  writeArchiveMiniblocks(
    id: Id,
    startMiniblockNum: bigint,
    miniblocks: Block[],
    o?: Options,
  ): Promise<void>;
  writeEphemeralMiniblock(id: Id, block: Block, o?: Options): Promise<void>;
  normalizeEphemeralStream(id: Id, o?: Options): Promise<Uint8Array>;
  writeMiniblockCandidate(id: Id, block: Block, o?: Options): Promise<void>;
  readMiniblockCandidate(
    id: Id,
    blockHash: Uint8Array,
    blockNumber: bigint,
    o?: Options,
  ): Promise<Block>;
  getMiniblockCandidateCount(
    id: Id,
    number: bigint,
    o?: Options,
  ): Promise<number>;
  readStreamFromLastSnapshot(
    id: Id,
    numPrecedingMiniblocks: number,
    o?: Options,
  ): Promise<{
    snapshotMiniblockOffset: number;
    miniblocks: Block[];
    minipoolEnvelopes: Uint8Array[];
  }>;
  readMiniblocks(
    id: Id,
    fromInclusive: bigint,
    toExclusive: bigint,
    o?: ReadOptions,
  ): Promise<{ miniblocks: Block[]; terminus: boolean }>;
  streamMiniblocks(
    id: Id,
    fromInclusive: bigint,
    toExclusive: bigint,
    o?: ReadOptions,
  ): AsyncIterable<Block>;
  readEphemeralMiniblockNums(id: Id, o?: Options): Promise<bigint[]>;
  getLastMiniblockNumber(id: Id, o?: Options): Promise<bigint>;
  getMaxArchivedMiniblockNumber(id: Id, o?: Options): Promise<bigint>;
  getMiniblockNumberRanges(id: Id, o?: Options): Promise<MiniblockRange[]>;
  isStreamEphemeral(id: Id, o?: Options): Promise<boolean>;
  streamMiniblocksStoredLocation(
    id: Id,
    o?: Options,
  ): Promise<"db" | "s3" | "gcs">;
  getStreams(o?: Options & { after?: Id; limit?: number }): Promise<Id[]>;
  getStreamsNumber(o?: Options): Promise<number>;
  trimStream(
    id: Id,
    trimToMbExclusive: bigint,
    nullifySnapshotMbs: bigint[],
    o?: Options,
  ): Promise<void>;
  debugReadStreamData(id: Id, o?: Options): Promise<{
    streamId: Id;
    latestSnapshotMiniblockNum: bigint;
    miniblocks: Block[];
    events: { generation: bigint; slot: number; data?: Uint8Array }[];
    miniblockCandidates: Block[];
  }>;
  debugReadStreamStatistics(id: Id, o?: Options): Promise<{
    streamId: Id;
    latestSnapshotMiniblockNum: bigint;
    miniblockRanges: MiniblockRange[];
    miniblockCandidates: { number: bigint; hash: Uint8Array }[];
    minipoolEvents: number;
    partitionSuffix: string;
  }>;
  debugDeleteMiniblocks(
    id: Id,
    fromInclusive: bigint,
    toExclusive: bigint,
    o?: Options,
  ): Promise<void>;
  close(): Promise<void>;
}

interface SpecifiedFunctions {
  parseStreamId(value: string | Uint8Array): StreamId;
  isStreamId(value: unknown): value is StreamId;
  streamType(id: StreamId): StreamType;
  partitionSuffix(id: StreamId, partitions: number): string;
  schemaLockId(schema: string): bigint;
  schemaNameFromAddress(address: string): string;
  schemaNameForArchive(archiveId: string): string;
  snapshotsToNullify(
    rangeStart: bigint,
    rangeEnd: bigint,
    snapshots: bigint[],
    retentionInterval: bigint,
    minKeep: bigint,
  ): bigint[];
  closestSnapshotMiniblock(
    ranges: MiniblockRange[],
    at: bigint,
  ): bigint | undefined;
  miniblockIdsToRanges(ids: bigint[], maxLength: number): MiniblockRange[];
}

type SpecifiedCode =
  | "INVALID_ARGUMENT"
  | "BAD_STREAM_ID"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "FAILED_PRECONDITION"
  | "INTERNAL"
  | "DB_OPERATION_FAILURE"
  | "MINIBLOCKS_STORAGE_FAILURE"
  | "MINIBLOCKS_NOT_FOUND"
  | "RESOURCE_EXHAUSTED"
  | "BAD_CONFIG"
  | "DOWNSTREAM_NETWORK_ERROR"
  | "CANCELED"
  | "DEADLINE_EXCEEDED"
  | "UNAVAILABLE";

type SpecifiedType =
  | "space"
  | "channel"
  | "dm"
  | "gdm"
  | "media"
  | "metadata"
  | "user"
  | "user_settings"
  | "user_inbox"
  | "user_metadata"
  | "unknown";

type Same<A, B> = [A] extends [B] ? [B] extends [A] ? true : false : false;

/** True for each method that both interfaces have with the same signature. */
type SameMethods<A, B> = {
  [K in keyof A | keyof B]: K extends keyof A & keyof B
    ? A[K] extends (...args: infer P) => infer R
      ? B[K] extends (...args: infer Q) => infer S ? Same<[P, R], [Q, S]>
      : false
    : Same<A[K], B[K]>
    : false;
};

const methods: { [K in keyof SameMethods<StreamStorage, Specified>]: true } =
  {} as SameMethods<StreamStorage, Specified>;
const block: Same<MiniblockDescriptor, SpecifiedBlock> = true;
const range: Same<MiniblockRange, SpecifiedRange> = true;
const codes: Same<StreamStorageErrorCode, SpecifiedCode> = true;
const types: Same<StreamType, SpecifiedType> = true;
const functions: SpecifiedFunctions = api;

describe("The public interface", () => {
  it("has the specified functions, also at run time", () => {
    assert.ok(methods && block && range && codes && types);
    for (
      const name of [
        "parseStreamId",
        "isStreamId",
        "streamType",
        "partitionSuffix",
        "schemaLockId",
        "schemaNameFromAddress",
        "schemaNameForArchive",
        "snapshotsToNullify",
        "closestSnapshotMiniblock",
        "miniblockIdsToRanges",
      ] satisfies (keyof SpecifiedFunctions)[]
    ) assert.equal(typeof functions[name], "function", name);
    assert.equal(typeof api.openStreamStorage, "function");
    assert.equal(typeof api.MemoryStreamStorage, "function");
    assert.equal(typeof api.StreamStorageError, "function");
    assert.equal(typeof api.isStreamStorageError, "function");
  });
});
