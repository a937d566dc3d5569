import { after, before } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { StreamStorage } from "../../src/storage/stream_storage.ts";
import type { Session } from "../../src/database/session.ts";
import {
  type ContractFamily,
  streamStorageContract,
} from "../../src/testing/contract.ts";
import type { ContractStore } from "../../src/testing/contract/suite.ts";
import { testDatabaseUrl } from "./database.ts";
import { emptyTables } from "./empty_tables.ts";
import { plant } from "./plant.ts";
import { testSession } from "./sessions.ts";

/** The options with which {@linkcode sharedStoreContract} opens its stores. */
export type SharedStoreOptions = StreamStorageOptions & {
  partitions: number;
  /** An administrator's URL of the same database. Default: the tests' server. */
  administrator?: string;
  /** Wraps the store for the tests. Default: the store itself. */
  through?: (storage: PostgresStreamStorage) => Promise<StreamStorage>;
};

/**
 * Registers the contract for stores on one existing schema. The tests share one
 * store until one of them closes it. The tables are emptied after each test.
 */
export function sharedStoreContract(
  prepare: (cleanUp: AsyncDisposableStack) => Promise<SharedStoreOptions>,
  families?: readonly ContractFamily[],
): void {
  const cleanUp = new AsyncDisposableStack();
  let options: StreamStorageOptions & { partitions: number };
  let through: NonNullable<SharedStoreOptions["through"]>;
  let url: string;
  let session: Session;
  let storage: StreamStorage | undefined;

  before(async () => {
    const prepared = await prepare(cleanUp);
    const { administrator, through: given, ...others } = prepared;
    options = others;
    through = given ?? ((storage) => Promise.resolve(storage));
    url = administrator ?? await testDatabaseUrl();
    session = cleanUp.use(await testSession({ url }));
  });

  after(async () => {
    await storage?.close();
    await cleanUp.disposeAsync();
  });

  streamStorageContract(async (): Promise<ContractStore> => {
    const opened = storage ??= await through(
      await openStreamStorage({ ...options, migrate: "check" }),
    );
    const { schema, partitions } = options;
    return {
      storage: opened,
      plant: (streamId, rows) =>
        plant({ url, schema, partitions }, streamId, rows),
      dispose: async () => {
        await session.script(emptyTables(schema, partitions));
        // Many tests end with a closed store.
        await opened.getStreamsNumber().catch(() => (storage = undefined));
      },
    };
  }, { name: "PostgreSQL", ...(families && { families }) });
}
