/**
 * Bounds what one statement removes. To the server, a piece of a large value (2
 * kB) is a row like any other, so a statement may have to remove very many.
 * Without a bound it may not end before its deadline, and each try would repeat
 * the same work in vain. In a second, a server removes about 250 MB of large
 * values, or 100 000 small rows.
 */
const maxRows = 10_000;
const maxBytes = 32 * 1024 * 1024;

/**
 * SQL for the first rows of `from` (a table and conditions) in the order of
 * `keys`: the keys, and whether the row `fits` into one statement's work. The
 * first row always fits; the last one may not.
 */
export function pageSql(
  { keys, descending = false, bytes, from, bytesAtMost = maxBytes }: {
    keys: readonly string[];
    descending?: boolean;
    bytes: string;
    from: string;
    bytesAtMost?: number;
  },
): string {
  const key = keys.join(", ");
  const order = keys.map((column) => column + (descending ? " DESC" : ""))
    .join(", ");
  return `SELECT ${key}, nth <= ${maxRows} AND before < ${bytesAtMost} AS fits
    FROM (SELECT ${key}, pg_catalog.row_number() OVER numbered AS nth,
        pg_catalog.sum(bytes) OVER numbered - bytes AS before
      FROM (SELECT ${key}, ${bytes} AS bytes FROM ${from}
        ORDER BY ${order} LIMIT ${maxRows + 1}) AS item
      WINDOW numbered AS (ORDER BY ${order} ROWS UNBOUNDED PRECEDING))
      AS counted`;
}

/** SQL for the last number of a page of blocks, and whether more follow. */
export function pageEndSql(from: string, bytes: string): string {
  const page = pageSql({ keys: ["seq_num"], bytes, from });
  return `SELECT pg_catalog.max(seq_num) FILTER (WHERE fits) AS last,
      coalesce(pg_catalog.bool_or(NOT fits), false) AS is_more
    FROM (${page}) AS page`;
}

/** The size of a block's row, measured without reading a large value. */
export const blockBytes =
  "pg_catalog.octet_length(blockdata) + coalesce(pg_catalog.octet_length(snapshot), 0)";
