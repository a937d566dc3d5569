/** Compares the tables of a schema with the required ones. */

import { partitionSuffixes } from "../../database/migrations/plan.ts";
import { bind } from "../../database/statement.ts";
import {
  selectColumns,
  selectIndexes,
  selectOwnVersion,
  selectReadable,
} from "./catalogue_sql.ts";
import type { Finding } from "./findings.ts";
import type { Ground } from "./ground.ts";
import {
  type ColumnShape,
  expectedTables,
  partitionTables,
  type TableShape,
} from "./schema_shape.ts";

/** The facts about the tables. */
export interface Catalogue {
  findings: Finding[];
  /** Suffixes, extra ones too, whose tables exist with their columns. */
  usable: Set<string>;
  /** Suffixes of tables beyond the number of partitions. */
  extra: string[];
  /** Tables that exist and can be read. */
  readable: ReadonlySet<string>;
}

interface FoundColumn {
  type: string;
  notNull: boolean;
  storage: string;
}

interface FoundTable {
  columns: Map<string, FoundColumn>;
  key: string | undefined;
  extras: Set<string>;
}

/**
 * Examines the schema's tables. All but the version is read in one snapshot.
 */
export async function lookAtCatalogue(
  { catalog, read }: Pick<Ground, "catalog" | "read">,
  schema: string,
): Promise<Catalogue> {
  const [columns, indexes, privileges] = await read([
    bind(selectColumns, schema),
    bind(selectIndexes, schema),
    bind(selectReadable, schema),
  ]);
  const tables = tablesOf(columns.rows, indexes.rows);
  const readable = new Set(privileges.rows.map(([name]) => name));
  const ownVersion = readable.has(ownTrack)
    ? Number(
      (await read([bind(selectOwnVersion(catalog.table(ownTrack)))]))[0]
        .rows[0]![0],
    )
    : 0;
  const { partitions } = catalog;
  const findings: Finding[] = [];
  const usable = new Set(partitionSuffixes(partitions));
  for (const shape of expectedTables({ partitions, ownVersion })) {
    const faults = compare(shape, tables.get(shape.name));
    findings.push(...faults.map((fault) => drift(shape.name, fault)));
    const isBroken = faults.some(({ isMissing }) => isMissing);
    if (isBroken && shape.suffix !== undefined) usable.delete(shape.suffix);
    if (isBroken && shape.name === "es") usable.clear();
  }
  const extra = extraSuffixes(tables, partitions);
  findings.push(...extra.map((suffix) => extraPartition(suffix, partitions)));
  for (const suffix of extra) {
    if (isWhole(tables, suffix)) usable.add(suffix);
  }
  return { findings, usable, extra, readable };
}

/**
 * Whether all tables of a suffix exist, so that they can be searched for rows.
 */
function isWhole(
  tables: ReadonlyMap<string, FoundTable>,
  suffix: string,
): boolean {
  return partitionTables(suffix).every((shape) =>
    !compare(shape, tables.get(shape.name)).some(({ isMissing }) => isMissing)
  );
}

const ownTrack = "stream_storage_migrations";

function tablesOf(
  columns: readonly (readonly [string, string, string, boolean, string])[],
  indexes: readonly (readonly [string, string, string | null])[],
): Map<string, FoundTable> {
  const tables = new Map<string, FoundTable>();
  for (const [table, column, type, notNull, storage] of columns) {
    let found = tables.get(table);
    if (found === undefined) {
      found = { columns: new Map(), key: undefined, extras: new Set() };
      tables.set(table, found);
    }
    found.columns.set(column, { type, notNull, storage });
  }
  for (const [table, name, key] of indexes) {
    const found = tables.get(table);
    found?.extras.add(name);
    if (found && key !== null) found.key = key;
  }
  return tables;
}

interface Fault {
  what: string;
  column?: string;
  expected: string;
  found: string;
  /** Whether it is missing, so that statements that name it fail. */
  isMissing?: boolean;
}

function compare(shape: TableShape, found: FoundTable | undefined): Fault[] {
  if (found === undefined) {
    return [{
      what: "the table is missing",
      expected: "a table",
      found: "none",
      isMissing: true,
    }];
  }
  const faults = Object.entries(shape.columns).flatMap(([name, column]) =>
    compareColumn(name, column, found.columns.get(name))
  );
  const key = shape.key?.join(",");
  if (key !== undefined && found.key !== key) {
    const is = found.key ?? "none";
    faults.push({ what: "the primary key", expected: key, found: is });
  }
  for (const name of shape.extras ?? []) {
    if (found.extras.has(name)) continue;
    faults.push({ what: "an index or trigger", expected: name, found: "none" });
  }
  return faults;
}

const storages: Record<string, string> = {
  p: "plain",
  e: "external",
  x: "extended",
  m: "main",
};

function compareColumn(
  column: string,
  { type, nullable = false, storage, own }: ColumnShape,
  found: FoundColumn | undefined,
): Fault[] {
  if (found === undefined) {
    const what = "a column is missing";
    // A verification reads only the tables and columns that nodes know, so
    // statements fail only if one of those is missing.
    const isMissing = own === undefined;
    return [{ what, column, expected: type, found: "none", isMissing }];
  }
  const faults: Fault[] = [];
  const differ = (what: string, expected: string, is: string) =>
    faults.push({ what, column, expected, found: is });
  if (found.type !== type) differ("a column's type", type, found.type);
  if (found.notNull === nullable) {
    const [no, yes] = ["not null", "null"];
    differ("whether null is allowed", nullable ? yes : no, nullable ? no : yes);
  }
  const is = storages[found.storage] ?? found.storage;
  if (storage !== undefined && is !== storage) {
    differ("a column's storage", storage, is);
  }
  return faults;
}

function drift(table: string, fault: Fault): Finding {
  const { what, column, expected, found } = fault;
  const name = column === undefined ? table : `${table}.${column}`;
  return {
    severity: "error",
    finding: "schema_drift",
    streamId: null,
    what: `${name}: ${what}: expected ${expected}, found ${found}`,
    details: { table, column: column ?? null, expected, found },
  };
}

function extraSuffixes(
  tables: ReadonlyMap<string, FoundTable>,
  partitions: number,
): string[] {
  const known = new Set(partitionSuffixes(partitions));
  return [...tables.keys()]
    .flatMap((name) => /^miniblocks_([rm][0-9a-f]{2})$/.exec(name)?.[1] ?? [])
    .filter((suffix) => !known.has(suffix));
}

function extraPartition(suffix: string, partitions: number): Finding {
  return {
    severity: "note",
    finding: "extra_partition",
    streamId: null,
    what: `Tables of partition ${suffix} are beyond the ${partitions} ` +
      "partitions; some releases of the node have made one too many",
    details: { suffix, partitions },
  };
}
