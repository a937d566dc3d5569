import type { ConnectionTarget } from "../database/connection_target.ts";
import { connectSession } from "../database/driver.ts";
import { dropSchema } from "../database/migrations/mod.ts";
import { startEmbeddedPostgres } from "../embedded/mod.ts";
import { openStreamStorage } from "../open_stream_storage.ts";
import type { StreamStorageOptions } from "../postgres/options.ts";
import { resolveOptions } from "../postgres/resolved_options.ts";
import type { PostgresStreamStorage } from "../postgres/postgres_stream_storage.ts";

/** The options of a test's store. */
export interface TestStreamStorageOptions
  extends Partial<Omit<StreamStorageOptions, "url">> {
  /** A PostgreSQL server; default: an embedded one, started and stopped. */
  url?: string;
}

/** The store of one test. */
export interface TestStreamStorage extends AsyncDisposable {
  /** The open store. */
  storage: PostgresStreamStorage;
  /** The server's url, to read the tables directly. */
  url: string;
  /** The store's schema. */
  schema: string;
}

/**
 * Opens a store on a schema of its own, with 2 partitions. Disposing of it
 * closes the store and drops the schema.
 *
 * Errors: those of `openStreamStorage` and `startEmbeddedPostgres`.
 *
 * @example
 * ```ts
 * import { createTestStreamStorage } from "@towns/stream-storage/testing";
 *
 * await using test = await createTestStreamStorage({ url });
 * await test.storage.createStreamStorage(streamId, genesis);
 * ```
 */
export async function createTestStreamStorage(
  options: TestStreamStorageOptions = {},
): Promise<TestStreamStorage> {
  await using stack = new AsyncDisposableStack();
  const url = options.url ?? stack.use(await startEmbeddedPostgres()).url;
  const schema = options.schema ??
    `test_${crypto.randomUUID().replaceAll("-", "")}`;
  const complete = { partitions: 2, ...options, url, schema };
  const { ownershipTarget } = resolveOptions(complete);
  stack.defer(() => drop(ownershipTarget, schema));
  const storage = stack.use(await openStreamStorage(complete));
  const cleanUp = stack.move();
  return {
    storage,
    url,
    schema,
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}

async function drop(target: ConnectionTarget, schema: string): Promise<void> {
  const session = await connectSession(target, {}, {
    preparedStatements: false,
    answerTimeoutMs: 60_000,
  });
  try {
    await dropSchema(session, schema);
  } finally {
    await session.close();
  }
}
