/** Stores that are measured: rows in them, and their end. */
import { randomBytes } from "node:crypto";
import { Node } from "./nodes.ts";

/** Of each row: as of a block of a busy stream. */
const rowBytes = 10_000;
const rowsOfAStatement = 500;

/**
 * Puts about so many bytes into the tables of blocks, evenly; returns what the
 * store's tables take then.
 */
export async function fillStore(
  node: Node,
  schema: string,
  bytes: number,
): Promise<number> {
  const tables = await node.rows<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
      WHERE schemaname = $1 AND tablename ~ '^miniblocks_r[0-9a-f]{2}$'
      ORDER BY 1`,
    [schema],
  );
  const data = randomBytes(rowBytes);
  const rows = Math.ceil(bytes / rowBytes / Math.max(1, tables.length));
  for (const { name } of tables) {
    for (let done = 0; done < rows; done += rowsOfAStatement) {
      await node.rows(
        `INSERT INTO ${name} (stream_id, seq_num, blockdata)
          SELECT $1, n, $2 FROM generate_series($3::int, $4::int) AS n`,
        [
          "20".padEnd(64, "a"),
          data,
          done,
          Math.min(rows, done + rowsOfAStatement) - 1,
        ],
      );
    }
  }
  const { size } = await node.row<{ size: number }>(
    `SELECT sum(pg_total_relation_size(oid))::float8 AS size FROM pg_class
      WHERE relkind = 'r' AND relnamespace = (SELECT oid FROM pg_namespace
        WHERE nspname = $1)`,
    [schema],
  );
  return size;
}

/** A statement that drops 1800 tables needs more locks than a server has. */
const tablesAtOnce = 100;

/** Removes a store, distributed or not. */
export async function dropStore(url: string, schema: string): Promise<void> {
  await using node = await Node.connect("end", url);
  for (;;) {
    const tables = await node.rows<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
        WHERE schemaname = $1 LIMIT ${tablesAtOnce}`,
      [schema],
    );
    if (tables.length === 0) break;
    const names = tables.map(({ name }) => name).join(", ");
    await node.rows(`DROP TABLE ${names} CASCADE`);
  }
  await node.rows(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
}
