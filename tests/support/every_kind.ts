/** A schema with streams of every kind, for tests of the operator's tools. */
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { partitionSuffix, type StreamId } from "../../src/storage/stream_id.ts";
import {
  bytes,
  candidate,
  newStreamId,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { openSession } from "./migration_connection.ts";
import { chain, type ChainOptions } from "./protocol_blocks.ts";
import { openTestStorage } from "./storage.ts";

/** The streams, by the property for which they exist. */
export type EveryKind = Record<
  | "regular"
  | "fresh"
  | "noSnapshot"
  | "legacy"
  | "trimmed"
  | "gapped"
  | "ephemeral"
  | "sealed"
  | "legacyMedia"
  | "offloaded"
  | "archive"
  | "unwritten"
  | "another"
  /** An id without a stream, for stray rows. */
  | "nobody",
  StreamId
>;

/** A schema that was filled and then left by its store. */
export interface FilledSchema extends AsyncDisposable {
  url: string;
  schema: string;
  partitions: number;
  /** The streams of each copy. */
  copies: EveryKind[];
  /**
   * Runs SQL. In it, `@` stands for the schema, `{name}` for the suffix of the
   * named stream's partition, and `'name'` for the stream's id.
   */
  sql(text: string, copy?: number): Promise<(string | null)[][]>;
  /**
   * Restores every row that has changed since the schema was filled. It leaves
   * the others alone, because some tools look at the transaction that wrote a
   * row.
   */
  restore(): Promise<void>;
}

/** Makes `count` copies of the streams of every kind, in a schema of its own. */
export async function fillSchema(count = 1): Promise<FilledSchema> {
  await using stack = new AsyncDisposableStack();
  const test = stack.use(await openTestStorage({ partitions: 2 }));
  const { url, schema, storage } = test;
  const partitions = storage.partitions;
  // One after the other. Streams that are created at once share a transaction,
  // which would hide that an archive stream's row is made in another way.
  const copies: EveryKind[] = [];
  while (copies.length < count) copies.push(await makeEveryKind(test));
  await storage.close();
  const session = stack.use(await openSession(url));
  const sql = (text: string, copy = 0) =>
    session.script(
      Object.entries(copies[copy]!).reduce(
        (sql, [name, id]) =>
          sql.replaceAll(`{${name}}`, partitionSuffix(id, partitions))
            .replaceAll(`'${name}'`, `'${id}'`),
        text.replaceAll("@", `"${schema}"`),
      ),
    );
  const tables = await sql(
    `SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
      WHERE nspname = '${schema}' AND relkind = 'r'
        AND (relname = 'es' OR relname ~ '_[rm]0[01]$')`,
  );
  const names = tables.map(([name]) => name);
  await sql(
    names.map((name) => `CREATE TEMP TABLE kept_${name} AS TABLE @.${name}`)
      .join(";"),
  );
  const kept = stack.move();
  return {
    url,
    schema,
    partitions,
    copies,
    sql,
    restore: async () => {
      await sql(
        names.map((name) =>
          `DELETE FROM @.${name} AS row WHERE NOT EXISTS (
            SELECT FROM kept_${name} AS kept WHERE kept = row);
          INSERT INTO @.${name}
            TABLE kept_${name} EXCEPT ALL TABLE @.${name}`
        ).join(";"),
      );
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Makes a stream of each kind. */
export async function makeEveryKind(
  test: TestStreamStorage,
): Promise<EveryKind> {
  const { storage } = test;
  const ids: EveryKind = {
    regular: newStreamId("space"),
    fresh: newStreamId("channel"),
    noSnapshot: newStreamId("channel"),
    legacy: newStreamId("space"),
    trimmed: newStreamId("channel"),
    gapped: newStreamId("space"),
    ephemeral: newStreamId("media"),
    sealed: newStreamId("media"),
    legacyMedia: newStreamId("media"),
    offloaded: newStreamId("media"),
    archive: newStreamId("space"),
    unwritten: newStreamId("space"),
    another: newStreamId("channel"),
    nobody: newStreamId("space"),
  };
  await write(storage, ids.regular, { count: 6, snapshots: [0, 3] });
  await storage.writeMiniblockCandidate(ids.regular, candidate(6));
  await storage.writeMiniblockCandidate(ids.regular, candidate(8));
  await write(storage, ids.fresh, { count: 1, snapshots: [0] }, 0);
  await write(storage, ids.noSnapshot, { count: 4 });
  await write(storage, ids.legacy, { count: 5, legacy: [0, 2] });
  await write(storage, ids.trimmed, { count: 9, snapshots: [0, 4, 7] });
  await storage.trimStream(ids.trimmed, 4n, []);
  await write(storage, ids.another, { count: 5, snapshots: [0, 2, 4] });
  await write(storage, ids.gapped, { count: 3, snapshots: [0] }, 0);
  const later = chain({ first: 10, count: 3, snapshots: [10] });
  await storage.reinitializeStreamStorage(ids.gapped, later, 10n, true);
  await upload(storage, ids.ephemeral, { count: 4, chunks: 3 }, [0, 1, 3]);
  await seal(storage, ids.sealed, { count: 4, chunks: 3 });
  await seal(storage, ids.legacyMedia, { count: 3, chunks: 2, legacy: [0] });
  await seal(storage, ids.offloaded, { count: 4, chunks: 3 });
  await moveOutside(test, ids.offloaded);
  await storage.createStreamArchiveStorage(ids.archive);
  const archived = chain({ count: 5, snapshots: [0, 3] });
  await storage.writeArchiveMiniblocks(ids.archive, 0n, archived);
  await storage.createStreamArchiveStorage(ids.unwritten);
  return ids;
}

async function write(
  storage: PostgresStreamStorage,
  id: StreamId,
  options: ChainOptions,
  events = 3,
): Promise<void> {
  const [genesis, ...blocks] = chain(options);
  await storage.createStreamStorage(id, genesis!);
  const generation = BigInt(options.count);
  if (blocks.length > 0) {
    const next = { generation, envelopes: [] };
    await storage.writeMiniblocks(id, blocks, next, { generation: 1n });
  }
  for (let slot = 0; slot < events; slot++) {
    await storage.writeEvent(id, generation, slot, bytes(`event ${slot}`));
  }
}

async function upload(
  storage: PostgresStreamStorage,
  id: StreamId,
  options: ChainOptions,
  numbers: readonly number[],
): Promise<void> {
  const blocks = chain(options);
  for (const number of numbers) {
    await storage.writeEphemeralMiniblock(id, blocks[number]!);
  }
}

async function seal(
  storage: PostgresStreamStorage,
  id: StreamId,
  options: ChainOptions,
): Promise<void> {
  await upload(storage, id, options, [...Array(options.count).keys()]);
  await storage.normalizeEphemeralStream(id);
}

/** Leaves the rows of a move into object storage, without making an object. */
async function moveOutside(
  { url, schema, storage }: TestStreamStorage,
  id: StreamId,
): Promise<void> {
  const t = new Catalog(schema, storage.partitions).tablesOf(id);
  await using session = await openSession(url);
  await session.script(
    `INSERT INTO ${t.external} (stream_id, seq_num, start_byte, size)
      SELECT stream_id, seq_num, coalesce(sum(octet_length(blockdata)) OVER (
        ORDER BY seq_num ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0),
        octet_length(blockdata)
      FROM ${t.miniblocks} WHERE stream_id = '${id}';
    DELETE FROM ${t.miniblocks} WHERE stream_id = '${id}';
    UPDATE ${t.streams} SET blockdata_ext = 'S' WHERE stream_id = '${id}'`,
  );
}
