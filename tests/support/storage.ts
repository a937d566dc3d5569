import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import {
  createTestStreamStorage,
  type TestStreamStorage,
} from "../../src/testing/create_test_stream_storage.ts";
import { testDatabaseUrl } from "./database.ts";

/**
 * Opens a store on the tests' server, in a schema of its own, without workers
 * unless the options want some.
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
