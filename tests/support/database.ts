import { randomUUID } from "node:crypto";
import process from "node:process";
import pg from "pg";
import { startEmbeddedPostgres } from "../../src/embedded/mod.ts";

/**
 * Test servers do not wait for the disk, because their data are thrown away. The
 * data still outlive a killed server process.
 */
export const testServerSettings: Record<string, string> = {
  fsync: "off",
  full_page_writes: "off",
  max_connections: "200",
};

let embedded: Promise<string> | undefined;

/**
 * The URL of the tests' server: STREAM_STORAGE_TEST_URL, or that of an embedded
 * server, which starts once and ends with this process.
 */
export function testDatabaseUrl(): Promise<string> {
  const given = process.env.STREAM_STORAGE_TEST_URL;
  if (given) return Promise.resolve(given);
  return embedded ??= startEmbeddedPostgres({ settings: testServerSettings })
    .then(({ url }) => url);
}

/** Runs SQL on a connection of its own; returns the last statement's rows. */
export async function queryOnce(
  url: string,
  sql: string,
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {}); // the query fails, too
  await client.connect();
  try {
    const result: unknown = await client.query(sql);
    const last = Array.isArray(result) ? result.at(-1) : result;
    return (last as { rows: Record<string, unknown>[] }).rows;
  } finally {
    await client.end();
  }
}

/** A name that no other schema, database or role has. */
export function uniqueName(prefix: string): string {
  return `${prefix}_${randomUUID().replaceAll("-", "")}`;
}

/** A database of a test, which is dropped when it is disposed of. */
export interface TestDatabase extends AsyncDisposable {
  url: string;
}

/** Creates a database on the tests' server, with clauses of CREATE DATABASE. */
export async function createTestDatabase(clauses = ""): Promise<TestDatabase> {
  const server = await testDatabaseUrl();
  const name = uniqueName("test");
  await queryOnce(server, `CREATE DATABASE ${name} ${clauses}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    [Symbol.asyncDispose]: async () => {
      await queryOnce(server, `DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}
