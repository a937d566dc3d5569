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

/** Runs one statement on a connection of its own and returns the rows. */
export async function queryOnce(
  url: string,
  sql: string,
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {}); // the query fails, too
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
