/** Reads the tables of a store that lives on a worker node of the cluster. */

import { bind } from "../../database/statement.ts";
import { askWorker, shardFamilies } from "../status/status_sql.ts";
import type { TableFamily } from "../status/types.ts";
import type { Queries } from "./cluster.ts";
import type { StorePlacement } from "./types.ts";

type Row = [
  string,
  string,
  string,
  string,
  string,
  string,
  string | null,
  string,
];

/**
 * The families of tables, the largest first; none if the worker node can't be
 * reached.
 */
export async function tablesOnWorker(
  queries: Queries,
  { schema, host, port }: StorePlacement,
): Promise<TableFamily[]> {
  const [{ rows: [row] }] = await queries.run([
    bind(askWorker, shardFamilies, schema, host, port),
  ]);
  const families = JSON.parse(row?.[0] ?? "null") as Row[] | null;
  return (families ?? []).map((
    [name, tables, heap, indexes, live, dead, lastVacuum, vacuumed],
  ) => ({
    name,
    tables: BigInt(tables),
    tableBytes: BigInt(heap),
    indexBytes: BigInt(indexes),
    rows: BigInt(live),
    deadRows: BigInt(dead),
    lastVacuum,
    vacuumed: BigInt(vacuumed),
  }));
}
