/**
 * A schema on a server, a store that has it open, and a direct connection with
 * which the benchmark inserts and counts rows.
 */

import pg from "pg";
import { parseConnectionUrl } from "../src/database/connection_target.ts";
import { connectSession } from "../src/database/driver.ts";
import { dropSchema } from "../src/database/migrations/mod.ts";
import { Catalog } from "../src/postgres/catalog.ts";
import { openStreamStorage } from "../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../src/postgres/postgres_stream_storage.ts";
import { clientOptions } from "./client.ts";

/** What a target works on. */
export interface Setup extends AsyncDisposable {
  url: string;
  schema: string;
  storage: PostgresStreamStorage;
  /** Knows the names of the tables. */
  catalog: Catalog;
  /** A connection that does not go through the store. */
  direct: pg.Client;
}

/** Opens a store on a new schema. Disposing of the setup drops the schema. */
export async function openSetup(
  url: string,
  options: Partial<StreamStorageOptions> = {},
): Promise<Setup> {
  await using stack = new AsyncDisposableStack();
  const schema = `bench_${crypto.randomUUID().replaceAll("-", "")}`;
  stack.defer(() => dropBenchSchema(url, schema));
  const storage = stack.use(
    await openStreamStorage({ ...options, url, schema }),
  );
  const direct = new pg.Client(clientOptions(url));
  await direct.connect();
  stack.defer(() => direct.end());
  const cleanUp = stack.move();
  return {
    url,
    schema,
    storage,
    catalog: new Catalog(schema, storage.partitions),
    direct,
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}

/** Drops a schema, however many tables it has. */
export async function dropBenchSchema(
  url: string,
  schema: string,
): Promise<void> {
  await using session = await connectSession(parseConnectionUrl(url), {}, {
    preparedStatements: false,
    answerTimeoutMs: 600_000,
  });
  await dropSchema(session, schema);
}
