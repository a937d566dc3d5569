/** The contract over PostgreSQL behind PgBouncer in transaction mode. */
import { describe } from "node:test";
import { testDatabaseUrl } from "../support/database.ts";
import { startPgBouncer } from "../support/poolers/pgbouncer.ts";
import { sharedStoreContract } from "../support/shared_store_contract.ts";
import { openTestStorage } from "../support/storage.ts";

describe("A store behind PgBouncer", () => {
  sharedStoreContract(async (cleanUp) => {
    const ownershipUrl = await testDatabaseUrl();
    const pooler = cleanUp.use(await startPgBouncer(ownershipUrl));
    const options = {
      url: pooler.url,
      ownershipUrl,
      partitions: 2,
      maxConnections: 5,
      startupDelayMs: 0,
    };
    const { schema, storage } = cleanUp.use(await openTestStorage(options));
    await storage.close();
    return { ...options, schema };
  });
});
