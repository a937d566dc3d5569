/**
 * A schema on a server, the store that has it open, and a way context the store
 * for planting rows and counting them.
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

/** A place to measure at. */
export interface Setup extends AsyncDisposable {
  url: string;
  schema: string;
  storage: PostgresStreamStorage;
  /** The tables' names. */
  catalog: Catalog;
  /** A connection behind the store's back. */
  direct: pg.Client;
}

/** Opens a store on a new schema; disposing drops the schema. */
export async function openSetup(
  url: string,
  options: Partial<StreamStorageOptions> = {},
): Promise<Setup> {
  await using stack = new AsyncDisposableStack();
  const schema = `bench_${crypto.randomUUID().replaceAll("-", "")}`;
  stack.defer(() => drop(url, schema));
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

async function drop(url: string, schema: string): Promise<void> {
  await using session = await connectSession(parseConnectionUrl(url), {}, {
    preparedStatements: false,
    maxPrepared: 1,
    answerTimeoutMs: 600_000,
  });
  await dropSchema(session, schema);
}
