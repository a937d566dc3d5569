/**
 * The contract over PostgreSQL. The tests share a schema: a schema for each of
 * some 400 tests would take two minutes, and no test needs its own.
 */
import { describe } from "node:test";
import { sharedStoreContract } from "../support/shared_store_contract.ts";
import { openTestStorage } from "../support/storage.ts";

const partitions = 2;

describe("A store on a real server", () => {
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
