/** Queries about a server. */

import { statement } from "../../database/statement.ts";

/** Milliseconds since 1970 by the server's clock, its version, whether it is a standby. */
export const selectServer = statement({
  text: `SELECT pg_catalog.date_part('epoch'::pg_catalog.text,
        pg_catalog.clock_timestamp()),
      pg_catalog.current_setting('server_version'),
      pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
      pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid()`,
  columns: ["float8", "text", "int4", "bool", "int4"],
  once: true,
});

/**
 * The examined settings: name, the value that our sessions begin with, source.
 * If our own transactions set a setting, its source is `session`.
 */
export const selectSettings = statement({
  text: `SELECT name, reset_val, source FROM pg_catalog.pg_settings
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit',
      'max_connections', 'superuser_reserved_connections',
      'reserved_connections', 'max_locks_per_transaction',
      'max_prepared_transactions', 'autovacuum', 'track_counts',
      'autovacuum_freeze_max_age', 'autovacuum_multixact_freeze_max_age',
      'max_slot_wal_keep_size', 'default_transaction_read_only',
      'statement_timeout', 'lock_timeout', 'transaction_timeout',
      'idle_session_timeout', 'idle_in_transaction_session_timeout',
      'default_transaction_isolation')`,
  columns: ["text", "text", "text"],
  once: true,
});

/**
 * Our role's name and limit, the database's limit, and the current number of
 * client sessions.
 */
export const selectLimits = statement({
  text: `SELECT r.rolname::pg_catalog.text, r.rolsuper, r.rolconnlimit,
      d.datconnlimit, (SELECT pg_catalog.count(*)
        FROM pg_catalog.pg_stat_activity
        WHERE backend_type = 'client backend'::pg_catalog.text)
    FROM pg_catalog.pg_database AS d
    JOIN pg_catalog.pg_roles AS r ON r.rolname = CURRENT_USER
    WHERE d.datname = pg_catalog.current_database()`,
  columns: ["text", "bool", "int4", "int4", "int8"],
  once: true,
});

/**
 * Settings of this database, and of roles that may use schema $1 (all roles
 * without one): role, database, `name=value`.
 */
export const selectRoleSettings = statement({
  text: `SELECT coalesce(r.rolname::pg_catalog.text, ''::pg_catalog.text),
      d.datname IS NOT NULL, its.setting
    FROM pg_catalog.pg_db_role_setting AS s
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = $1
    CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS its (setting)
    WHERE (d.oid IS NULL OR d.datname = pg_catalog.current_database())
      AND (r.oid IS NULL OR (r.rolcanlogin AND (n.oid IS NULL
        OR pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE'))))
    ORDER BY 1, 3 LIMIT 1000`,
  params: ["text"],
  columns: ["text", "bool", "text"],
  once: true,
});

/** Counts the tables of this database. A dump locks all of them at once. */
export const countTables = statement({
  text: `SELECT pg_catalog.count(*) FROM pg_catalog.pg_class
    WHERE relkind IN ('r', 'p')`,
  columns: ["int8"],
  once: true,
});

/** How full the queue of notifications is, from 0 to 1. */
export const selectQueueUsage = statement({
  text: "SELECT pg_catalog.pg_notification_queue_usage()",
  columns: ["float8"],
  once: true,
});

/**
 * Replication slots: name, whether the slot is being read, its state, and the
 * bytes of WAL that it keeps.
 */
export const selectSlots = statement({
  text: `SELECT slot_name::pg_catalog.text, active, wal_status,
      pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery()
        THEN pg_catalog.pg_last_wal_receive_lsn()
        ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn)
        ::pg_catalog.float8
    FROM pg_catalog.pg_replication_slots ORDER BY 4 DESC NULLS LAST LIMIT 100`,
  columns: ["text", "bool", "text?", "float8?"],
  once: true,
});

/**
 * The age of the oldest transaction and multixact of each database. One old
 * database stops the whole server.
 */
export const selectAges = statement({
  text: `SELECT datname::pg_catalog.text, pg_catalog.age(datfrozenxid),
      pg_catalog.mxid_age(datminmxid)
    FROM pg_catalog.pg_database ORDER BY 2 DESC, 1 LIMIT 1000`,
  columns: ["text", "int4", "int4"],
  once: true,
});
