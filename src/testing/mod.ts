/**
 * What is needed to test against the storage: the suite that every
 * implementation must pass, and a picture of what is stored.
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
export type { StreamId } from "../storage/stream_id.ts";
export type { StreamStorage } from "../storage/stream_storage.ts";
export {
  createTestStreamStorage,
  type TestStreamStorage,
  type TestStreamStorageOptions,
} from "./create_test_stream_storage.ts";
