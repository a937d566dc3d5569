import type { StreamReader } from "../../src/storage/stream_reader.ts";
import type { StreamStorage } from "../../src/storage/stream_storage.ts";

/** All that a reader has, spelled out: a new one is a type error here. */
const reads: Record<keyof Omit<StreamReader, symbol | "close">, true> = {
  readStreamFromLastSnapshot: true,
  readMiniblocks: true,
  streamMiniblocks: true,
  readMiniblockCandidate: true,
  getMiniblockCandidateCount: true,
  readEphemeralMiniblockNums: true,
  getLastMiniblockNumber: true,
  getMaxArchivedMiniblockNumber: true,
  getMiniblockNumberRanges: true,
  isStreamEphemeral: true,
  streamMiniblocksStoredLocation: true,
  getStreams: true,
  getStreamsNumber: true,
  debugReadStreamData: true,
  debugReadStreamStatistics: true,
};

/** Writes go to the store and reads to the reader; closing closes both. */
export function readThrough(
  storage: StreamStorage,
  reader: StreamReader,
): StreamStorage {
  const close = async () => {
    await reader.close();
    await storage.close();
  };
  return new Proxy(storage, {
    get: (_, name) => {
      if (name === "close" || name === Symbol.asyncDispose) return close;
      const of = Object.hasOwn(reads, name) ? reader : storage;
      const value = Reflect.get(of, name);
      return typeof value === "function" ? value.bind(of) : value;
    },
  });
}
