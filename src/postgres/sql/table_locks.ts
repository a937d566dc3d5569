/** Which partitions are locked, and against which statements. */

import { statement } from "../../database/statement.ts";

/**
 * The suffixes of schema $1's partitions to which writers have no access, and
 * whether readers have none either. Another session has, or waits for, a lock
 * on one of their tables or indexes that conflicts with ours; PostgreSQL serves
 * a session that waits before us first. On a cluster, a table's name ends with
 * the number of its shard.
 */
export const selectLockedPartitions = statement({
  text: `SELECT pg_catalog.substring(locked.relname::pg_catalog.text,
        '_([rm][0-9a-f]{2})(?:_[0-9]+)?$'),
      pg_catalog.bool_or(lock.mode = 'AccessExclusiveLock')
    FROM pg_catalog.pg_locks AS lock
    LEFT JOIN pg_catalog.pg_index AS index ON index.indexrelid = lock.relation
    JOIN pg_catalog.pg_class AS locked
      ON locked.oid = coalesce(index.indrelid, lock.relation)
    JOIN pg_catalog.pg_namespace AS schema ON schema.oid = locked.relnamespace
    WHERE lock.locktype = 'relation' AND schema.nspname = $1
      AND lock.database = (SELECT oid FROM pg_catalog.pg_database
        WHERE datname = pg_catalog.current_database())
      AND lock.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
        'AccessExclusiveLock')
      AND locked.relname ~ '_[rm][0-9a-f]{2}(_[0-9]+)?$'
    GROUP BY 1`,
  params: ["text"],
  columns: ["text", "bool"],
  once: true,
});
