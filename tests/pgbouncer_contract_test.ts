/**
 * The contract over PostgreSQL behind PgBouncer in transaction mode. All tests
 * but those that close it share one store, whose tables are emptied.
 */
import { after, before, describe } from "node:test";
import type { Session } from "../src/database/session.ts";
import { openStreamStorage } from "../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../src/postgres/postgres_stream_storage.ts";
import { streamStorageContract } from "../src/testing/contract.ts";
import type { ContractStore } from "../src/testing/contract/suite.ts";
import { testDatabaseUrl } from "./support/database.ts";
import { emptyTables } from "./support/empty_tables.ts";
import { startPgBouncer } from "./support/pgbouncer.ts";
import { plant } from "./support/plant.ts";
import { testSession } from "./support/sessions.ts";
import { openTestStorage } from "./support/storage.ts";

const partitions = 2;

describe("behind PgBouncer", () => {
  const cleanUp = new AsyncDisposableStack();
  let session: Session;
  let open: () => Promise<PostgresStreamStorage>;
  let ground: Parameters<typeof plant>[0];
  let storage: PostgresStreamStorage | undefined;

  before(async () => {
    const url = await testDatabaseUrl();
    const pooler = cleanUp.use(await startPgBouncer(url));
    session = cleanUp.use(await testSession());
    const options = {
      url: pooler.url,
      ownershipUrl: url,
      partitions,
      preparedStatements: false,
      maxConnections: 5,
      startupDelayMs: 0,
    };
    const test = cleanUp.use(await openTestStorage(options));
    const { schema } = test;
    ground = { url, schema, partitions };
    open = () => openStreamStorage({ ...options, schema, migrate: "check" });
    await test.storage.close();
  });

  after(async () => {
    await storage?.close();
    await cleanUp.disposeAsync();
  });

  const store = async (): Promise<ContractStore> => {
    const opened = storage ??= await open();
    return {
      storage: opened,
      plant: (streamId, rows) => plant(ground, streamId, rows),
      dispose: async () => {
        await session.script(emptyTables(ground.schema, partitions));
        // Many tests end with a closed store.
        await opened.getStreamsNumber().catch(() => (storage = undefined));
      },
    };
  };

  streamStorageContract(store, { name: "PostgreSQL" });
});
