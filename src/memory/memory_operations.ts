import type { StreamId } from "../storage/stream_id.ts";
import * as ephemeral from "./memory_ephemeral.ts";
import * as lifecycle from "./memory_lifecycle.ts";
import * as reads from "./memory_reads.ts";
import * as rebuild from "./memory_rebuild.ts";
import type { MemoryStreams } from "./memory_streams.ts";
import * as writes from "./memory_writes.ts";

const operations = {
  createStreamStorage: lifecycle.createStream,
  createEphemeralStreamStorage: lifecycle.createEphemeralStream,
  createStreamArchiveStorage: lifecycle.createArchiveStream,
  reinitializeStreamStorage: rebuild.reinitialize,
  deleteStream: lifecycle.deleteStream,
  writeEvent: writes.writeEvent,
  writeMiniblocks: writes.writeMiniblocks,
  writePrecedingMiniblocks: rebuild.writePreceding,
  writeArchiveMiniblocks: rebuild.writeArchive,
  writeEphemeralMiniblock: ephemeral.writeEphemeralMiniblock,
  normalizeEphemeralStream: ephemeral.normalizeEphemeralStream,
  writeMiniblockCandidate: writes.writeCandidate,
  readMiniblockCandidate: writes.readCandidate,
  getMiniblockCandidateCount: writes.countCandidates,
  readStreamFromLastSnapshot: reads.readFromLastSnapshot,
  readMiniblocks: reads.readMiniblocks,
  streamMiniblocks: reads.readMiniblocks,
  readEphemeralMiniblockNums: ephemeral.readEphemeralNumbers,
  getLastMiniblockNumber: reads.lastMiniblockNumber,
  getMaxArchivedMiniblockNumber: reads.maxArchivedNumber,
  getMiniblockNumberRanges: reads.numberRanges,
  isStreamEphemeral: reads.isEphemeral,
  streamMiniblocksStoredLocation: reads.storedLocation,
  trimStream: rebuild.trimStream,
  debugReadStreamData: reads.debugReadData,
  debugReadStreamStatistics: reads.debugReadStatistics,
  debugDeleteMiniblocks: reads.debugDelete,
};

/** The name of an operation on one stream. */
export type OperationName = keyof typeof operations;

/** The arguments of each operation after the stream id. */
export type OperationArguments = {
  [Name in OperationName]: (typeof operations)[Name] extends (
    streams: MemoryStreams,
    streamId: StreamId,
    ...rest: infer Rest
  ) => unknown ? Rest
    : never;
};

/** What each operation returns. */
export type OperationResults = {
  [Name in OperationName]: ReturnType<(typeof operations)[Name]>;
};

/** The operations on one stream, by the names of their methods. */
export const OPERATIONS: {
  [Name in OperationName]: (
    streams: MemoryStreams,
    streamId: StreamId,
    ...rest: OperationArguments[Name]
  ) => OperationResults[Name];
} = operations;
