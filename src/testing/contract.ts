import { archiveContract } from "./contract/archive.ts";
import { candidatesContract } from "./contract/candidates.ts";
import { closingContract } from "./contract/closing.ts";
import { creatingContract } from "./contract/creating.ts";
import { debugContract } from "./contract/debug.ts";
import { ephemeralContract } from "./contract/ephemeral.ts";
import { everyOperationContract } from "./contract/every_operation.ts";
import { loadingContract } from "./contract/loading.ts";
import { readingContract } from "./contract/reading.ts";
import { rebuildContract } from "./contract/rebuild.ts";
import { streamIdsContract } from "./contract/stream_ids.ts";
import { streamsContract } from "./contract/streams.ts";
import {
  type ContractStoreFactory,
  registerFamily,
  type Suite,
} from "./contract/suite.ts";
import { trimmingContract } from "./contract/trimming.ts";
import { writeEventContract } from "./contract/write_event.ts";
import { writeMiniblocksContract } from "./contract/write_miniblocks.ts";

/** The families of tests, by operation. */
export type ContractFamily =
  | "every_operation"
  | "creating"
  | "write_event"
  | "write_miniblocks"
  | "candidates"
  | "loading"
  | "reading"
  | "closing"
  | "archive"
  | "ephemeral"
  | "rebuild"
  | "trimming"
  | "debug"
  | "streams"
  | "stream_ids";

/** What registers the tests of each family. */
export const FAMILIES: Record<ContractFamily, (suite: Suite) => void> = {
  every_operation: everyOperationContract,
  creating: creatingContract,
  write_event: writeEventContract,
  write_miniblocks: writeMiniblocksContract,
  candidates: candidatesContract,
  loading: loadingContract,
  reading: readingContract,
  closing: closingContract,
  archive: archiveContract,
  ephemeral: ephemeralContract,
  rebuild: rebuildContract,
  trimming: trimmingContract,
  debug: debugContract,
  streams: streamsContract,
  stream_ids: streamIdsContract,
};

/**
 * The families that only use createStreamStorage, deleteStream, getStreams,
 * getStreamsNumber, writeEvent, writeMiniblocks, the candidates, the reads of
 * blocks and close: the first to run while an implementation grows.
 */
export const CORE_FAMILIES: readonly ContractFamily[] = [
  "creating",
  "write_event",
  "write_miniblocks",
  "candidates",
  "loading",
  "reading",
  "closing",
];

/** Selects the tests of the contract to run. */
export interface ContractOptions {
  /** The prefix of the families' names. Default `StreamStorage`. */
  name?: string;
  /** The families to run. Default all. */
  families?: readonly ContractFamily[];
  /**
   * Whether to also run the tests that start from planted rows: streams with
   * gaps, broken minipools and old data. The factory must then return `plant`.
   * Default true.
   */
  planting?: boolean;
}

/**
 * Registers, with `node:test`, the tests that every `StreamStorage` must pass:
 * each operation, each error with its code, reason and details, the effects,
 * and concurrent calls. Each test gets a store of its own from `factory`.
 *
 * @example
 * ```ts
 * import { MemoryStreamStorage } from "@towns/stream-storage";
 * import { streamStorageContract } from "@towns/stream-storage/testing";
 *
 * streamStorageContract(() => {
 *   const storage = new MemoryStreamStorage(); // yours
 *   return { storage, dispose: () => storage.close() };
 * }, { planting: false });
 * ```
 */
export function streamStorageContract(
  factory: ContractStoreFactory,
  options: ContractOptions = {},
): void {
  const { name = "StreamStorage", planting = true } = options;
  const families = options.families ?? Object.keys(FAMILIES);
  for (const family of families as readonly ContractFamily[]) {
    registerFamily(
      `${name}: ${family}`,
      factory,
      { planting },
      FAMILIES[family],
    );
  }
}
