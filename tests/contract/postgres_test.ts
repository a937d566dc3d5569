/**
 * The contract over PostgreSQL. The tests share a schema: one of its own for each of
 * some 400 tests took two minutes of the gate for nothing that a test asks.
 */
import { describe } from "node:test";
import { sharedStoreContract } from "../support/shared_store_contract.ts";
import { openTestStorage } from "../support/storage.ts";

const partitions = 2;

describe("one schema", () => {
  sharedStoreContract(async (cleanUp) => {
    const { storage, url, schema } = cleanUp.use(
      await openTestStorage({ partitions }),
    );
    await storage.close();
    return {
      url,
      schema,
      partitions,
      startupDelayMs: 0,
      workerConcurrency: 0,
      maxConnections: 5,
    };
  });
});
