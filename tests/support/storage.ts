import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { ContractStore } from "../../src/testing/contract/suite.ts";
import {
  createTestStreamStorage,
  type TestStreamStorage,
} from "../../src/testing/create_test_stream_storage.ts";
import { testDatabaseUrl } from "./database.ts";
import { plant } from "./plant.ts";

/**
 * A store on the tests' server, in a schema of its own; nothing runs in its
 * background unless the options say so.
 */
export async function openTestStorage(
  options: Partial<StreamStorageOptions> = {},
): Promise<TestStreamStorage> {
  return await createTestStreamStorage({
    maxConnections: 5,
    startupDelayMs: 0,
    workerConcurrency: 0,
    ...options,
    url: options.url ?? await testDatabaseUrl(),
  });
}

/** The same for the contract's suite, with rows planted behind its back. */
export async function contractStore(
  options: Partial<StreamStorageOptions> = {},
): Promise<ContractStore> {
  const test = await openTestStorage(options);
  const { storage, schema } = test;
  const ground = {
    url: await testDatabaseUrl(),
    schema,
    partitions: storage.partitions,
  };
  return {
    storage,
    plant: (streamId, rows) => plant(ground, streamId, rows),
    dispose: async () => await test[Symbol.asyncDispose](),
  };
}
