/**
 * The contract with each read made by a reader, which owns nothing, and each
 * write by a store on the same schema.
 */
import { describe } from "node:test";
import { openStreamReader } from "../../src/open_stream_reader.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { readThrough } from "../support/read_through.ts";
import { sharedStoreContract } from "../support/shared_store_contract.ts";
import { openTestStorage } from "../support/storage.ts";

describe("A store that is read through a reader", () => {
  sharedStoreContract(async (cleanUp) => {
    const url = await testDatabaseUrl();
    const options = {
      url,
      partitions: 2,
      maxConnections: 5,
      startupDelayMs: 0,
    };
    const { schema, storage } = cleanUp.use(await openTestStorage(options));
    await storage.close();
    return {
      ...options,
      schema,
      through: async (storage) =>
        readThrough(storage, await openStreamReader({ url, schema })),
    };
  }, [
    "candidates",
    "loading",
    "reading",
    "archive",
    "ephemeral",
    "debug",
    "streams",
    "closing",
  ]);
});
