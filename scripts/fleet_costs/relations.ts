/** What an empty store adds to a server: relations, files, catalogue. */
import type { Node } from "./nodes.ts";

/** What a database has, or what was added to it. */
export interface Relations {
  /** Tables, without those of TOAST. */
  tables: number;
  /** Tables, TOAST tables and indexes. */
  relations: number;
  /** Of their files. */
  bytes: number;
  /** Of the system's own tables in this database. */
  catalogueBytes: number;
  /** Files that are not empty, and empty ones. */
  files: number;
}

/** All that is no system's own. */
const selectRelations = `
  SELECT count(*) FILTER (WHERE relkind = 'r')::int AS tables,
    count(*)::int AS relations,
    coalesce(sum(pg_relation_size(oid)), 0)::float8 AS bytes,
    (SELECT sum(pg_total_relation_size(oid))::float8 FROM pg_class
      WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'
        AND NOT relisshared) AS "catalogueBytes",
    (SELECT count(*)::int FROM pg_ls_dir('base/' || (SELECT oid
      FROM pg_database WHERE datname = current_database()))) AS files
  FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 't', 'i')`;

/** What the node's database has now. */
export async function relationsOf(node: Node): Promise<Relations> {
  return await node.row<Relations & Record<string, number>>(selectRelations);
}

/** What was added between two looks. */
export function added(before: Relations, after: Relations): Relations {
  return {
    tables: after.tables - before.tables,
    relations: after.relations - before.relations,
    bytes: after.bytes - before.bytes,
    catalogueBytes: after.catalogueBytes - before.catalogueBytes,
    files: after.files - before.files,
  };
}
