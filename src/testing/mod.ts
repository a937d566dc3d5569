/**
 * Helpers for tests against the storage: deliberate faults, a store on a schema
 * of its own, the suite that every implementation must pass, and a drawing of
 * what is stored.
 *
 * @example The database is unreachable at the program's second call.
 * ```ts
 * import { MemoryStreamStorage } from "@towns/stream-storage";
 * import { withFaults } from "@towns/stream-storage/testing";
 *
 * await using storage = withFaults(
 *   new MemoryStreamStorage(),
 *   ({ count }) => count === 2 ? "unavailable" : undefined,
 * );
 * console.log(await storage.getStreamsNumber()); // 0
 * console.log((await storage.getStreamsNumber().catch((e) => e)).code); // UNAVAILABLE
 * ```
 *
 * @module
 */
export {
  type ContractFamily,
  type ContractOptions,
  CORE_FAMILIES,
  streamStorageContract,
} from "./contract.ts";
export type {
  ContractStore,
  ContractStoreFactory,
  PlantedBlock,
  PlantedStream,
} from "./contract/suite.ts";
export {
  type Fault,
  type FaultCall,
  type FaultPlan,
  type FaultyStreamStorage,
  randomFaults,
  type RandomFaultsOptions,
  withFaults,
} from "./faults.ts";
export { formatMiniblocks } from "./format_miniblocks.ts";
export { type Settable, settable } from "./settable.ts";
export type { StreamId } from "../storage/stream_id.ts";
export type { StreamStorage } from "../storage/stream_storage.ts";
export {
  createTestStreamStorage,
  type TestStreamStorage,
  type TestStreamStorageOptions,
} from "./create_test_stream_storage.ts";
