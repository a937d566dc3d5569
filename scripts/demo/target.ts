/**
 * Opens the store that the demo writes to: on an embedded server, or in a new
 * schema of a given server.
 */
import {
  openStreamStorage,
  type PostgresStreamStorage,
  type StreamId,
} from "../../mod.ts";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { connectLastingSession } from "../../src/database/lasting_session.ts";
import {
  dropSchema,
  quoteIdentifier,
} from "../../src/database/migrations/mod.ts";
import type { Session } from "../../src/database/session.ts";
import { startEmbeddedPostgres } from "../../src/embedded/mod.ts";

/** Where to write. */
export interface TargetOptions {
  /** The URL of a server; absent: an embedded one. */
  url?: string | undefined;
  schema: string;
  partitions: number;
  /** Whether to leave the schema behind. */
  keep: boolean;
  signal: AbortSignal;
  /** Called at the beginning of each phase. */
  onPhase: (phase: string) => void;
}

/** An open store in a new schema, which disposing of the target drops. */
export interface Target extends AsyncDisposable {
  storage: PostgresStreamStorage;
  /** Runs SQL on a new session, for what a storage has no operation for. */
  script(sql: string): Promise<(string | null)[][]>;
}

/** Opens the store. Refuses a schema that exists. */
export async function openTarget(options: TargetOptions): Promise<Target> {
  const { schema, partitions, keep, signal, onPhase } = options;
  await using stack = new AsyncDisposableStack();
  onPhase("Starting PostgreSQL");
  const url = options.url ?? stack.use(await startEmbeddedPostgres()).url;
  signal.throwIfAborted();
  onPhase("Opening the store");
  const script = (sql: string) =>
    withSession(url, (session) => session.script(sql));
  const names = await script("SELECT nspname FROM pg_catalog.pg_namespace");
  if (names.some(([name]) => name === schema)) {
    throw new Error(
      `The demo needs a schema that does not exist yet, received ${
        JSON.stringify(schema)
      }`,
    );
  }
  // The schema of an embedded server disappears with the server.
  if (options.url !== undefined && !keep) {
    stack.defer(() =>
      withSession(url, (session) => dropSchema(session, schema))
    );
  }
  const storage = stack.use(
    await openStreamStorage({ url, schema, partitions, signal }),
  );
  const cleanUp = stack.move();
  return {
    storage,
    script,
    [Symbol.asyncDispose]: async () => {
      onPhase("Cleaning up");
      await cleanUp.disposeAsync();
    },
  };
}

async function withSession<T>(
  url: string,
  body: (session: Session) => Promise<T>,
): Promise<T> {
  const target = parseConnectionUrl(url);
  await using session = await connectLastingSession(target, {
    preparedStatements: false,
    answerTimeoutMs: 60_000,
  });
  return await body(session);
}

/** Reads the version of the server, for example `18.4`. */
export async function serverVersion({ script }: Target): Promise<string> {
  const [row] = await script("SHOW server_version");
  return row?.[0] ?? "";
}

/** Measures the disk space of the tables and of their indexes, in bytes. */
export async function storedSizes(
  { script, storage }: Target,
): Promise<{ tables: number; indexes: number }> {
  const schema = `'${quoteIdentifier(storage.schema).replaceAll("'", "''")}'`;
  const [row] = await script(`
    SELECT sum(pg_table_size(oid)), sum(pg_indexes_size(oid))
    FROM pg_catalog.pg_class
    WHERE relkind = 'r'
      AND relnamespace = ${schema}::regnamespace`);
  return { tables: Number(row?.[0]), indexes: Number(row?.[1]) };
}

/** Changes one stored byte of a stream's last block without the store. */
export async function corruptLastBlock(
  { script, storage }: Target,
  streamId: StreamId,
): Promise<void> {
  const { partitionSuffix } = await storage.debugReadStreamStatistics(streamId);
  const last = await storage.getLastMiniblockNumber(streamId);
  const schema = quoteIdentifier(storage.schema);
  await script(`
    UPDATE ${schema}.miniblocks_${partitionSuffix}
    SET blockdata = set_byte(blockdata, 7, get_byte(blockdata, 7) # 1)
    WHERE stream_id = '${streamId}' AND seq_num = ${last}`);
}
