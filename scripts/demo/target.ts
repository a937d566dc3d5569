/** Where the demo writes: an embedded server, or a new schema of a given one. */
import { openStreamStorage, type PostgresStreamStorage } from "../../mod.ts";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import {
  dropSchema,
  quoteIdentifier,
} from "../../src/database/migrations/mod.ts";
import type { Session } from "../../src/database/session.ts";
import { startEmbeddedPostgres } from "../../src/embedded/mod.ts";
import type { StreamId } from "../../mod.ts";

/** Where to write. */
export interface TargetOptions {
  /** A server; absent: an embedded one. */
  url?: string | undefined;
  schema: string;
  partitions: number;
  /** Leave the schema behind. */
  keep: boolean;
  signal: AbortSignal;
  /** Told what is being done. */
  onPhase: (phase: string) => void;
}

/** An open store in a schema of its own, which goes when it is disposed of. */
export interface Target extends AsyncDisposable {
  storage: PostgresStreamStorage;
  /** For what is not a storage's business. */
  session: Session;
}

/** Opens the store. Refuses a schema that is there already. */
export async function openTarget(options: TargetOptions): Promise<Target> {
  const { schema, partitions, keep, signal, onPhase } = options;
  await using stack = new AsyncDisposableStack();
  onPhase("Starting PostgreSQL");
  const url = options.url ?? stack.use(await startEmbeddedPostgres()).url;
  signal.throwIfAborted();
  onPhase("Opening the store");
  const session = stack.use(
    await connectSession(parseConnectionUrl(url), {}, {
      preparedStatements: false,
      maxPrepared: 1,
      answerTimeoutMs: 60_000,
    }),
  );
  if (await schemaExists(session, schema)) {
    throw new Error(
      `The demo needs a schema that does not exist yet, received ${
        JSON.stringify(schema)
      }`,
    );
  }
  // The schema of an embedded server goes with the server.
  if (options.url !== undefined && !keep) {
    stack.defer(() => dropSchema(session, schema));
  }
  const storage = stack.use(
    await openStreamStorage({ url, schema, partitions, signal }),
  );
  const cleanUp = stack.move();
  return {
    storage,
    session,
    [Symbol.asyncDispose]: async () => {
      onPhase("Cleaning up");
      await cleanUp.disposeAsync();
    },
  };
}

async function schemaExists(
  session: Session,
  schema: string,
): Promise<boolean> {
  const names = await session.script(
    "SELECT nspname FROM pg_catalog.pg_namespace",
  );
  return names.some(([name]) => name === schema);
}

/** The version of the server, as `18.4`. */
export async function serverVersion({ session }: Target): Promise<string> {
  const [row] = await session.script("SHOW server_version");
  return row?.[0] ?? "";
}

/** How much of the disk the tables and their indexes take, in bytes. */
export async function storedSizes(
  { session, storage }: Target,
): Promise<{ tables: number; indexes: number }> {
  const anyTable = `${quoteIdentifier(storage.schema)}.es`;
  const [row] = await session.script(`
    SELECT sum(pg_table_size(oid)), sum(pg_indexes_size(oid))
    FROM pg_catalog.pg_class
    WHERE relkind = 'r' AND relnamespace = (
      SELECT relnamespace FROM pg_catalog.pg_class
      WHERE oid = '${anyTable.replaceAll("'", "''")}'::regclass
    )`);
  return { tables: Number(row?.[0]), indexes: Number(row?.[1]) };
}

/** Changes one stored byte of a stream's last block behind the store's back. */
export async function corruptLastBlock(
  { session, storage }: Target,
  streamId: StreamId,
): Promise<void> {
  const { partitionSuffix } = await storage.debugReadStreamStatistics(streamId);
  const last = await storage.getLastMiniblockNumber(streamId);
  const table = `${quoteIdentifier(storage.schema)}.miniblocks_${partitionSuffix}`;
  await session.script(`
    UPDATE ${table}
    SET blockdata = set_byte(blockdata, 7, get_byte(blockdata, 7) # 1)
    WHERE stream_id = '${streamId}' AND seq_num = ${last}`);
}
