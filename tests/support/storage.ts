import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import {
  createTestStreamStorage,
  type TestStreamStorage,
} from "../../src/testing/create_test_stream_storage.ts";
import { testDatabaseUrl } from "./database.ts";

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
