import { selectHasCitus } from "../cluster/find_home.ts";
import { quoteIdentifier } from "../migrations/sql_text.ts";
import { bind, statement } from "../statement.ts";

/** Announces each new row of an owner; the payload is the schema. */
export const channel = "singlenodekey";

/** How long one attempt to write the row waits for the owner's writes. */
const rowLockMs = 500;
/**
 * How long a starter may pause between its two flushes. Then the server takes
 * it for dead and ends its session.
 */
const idleMs = 3000;

/** The statements of ownership. */
export type OwnershipSql = ReturnType<typeof ownershipSql>;

/**
 * The statements of ownership over the owners' table, quoted, with its schema.
 * On a cluster it is a shard, which announces its rows on a channel of its own.
 */
export function ownershipSql(
  table: string,
  channels: readonly string[] = [channel],
) {
  const listens = channels.map((name) =>
    bind(statement({ text: `LISTEN ${quoteIdentifier(name)}`, once: true }))
  );
  return {
    table,
    channels,
    listens,
    ...lockSql,
    ...lookSql(table),
    ...replaceSql(table),
  };
}

/** The owners' table, by the name that it has on every server. */
export function ownersTable(schema: string): string {
  return `${quoteIdentifier(schema)}.singlenodekey`;
}

const lockSql = {
  hasCitus: selectHasCitus,
  setLease: statement({
    text: "SELECT pg_catalog.set_config('idle_session_timeout', $1, false)",
    params: ["text"],
    columns: ["text"],
    once: true,
  }),
  ping: statement({ text: "SELECT", once: true }),
  tryLock: statement({
    text: "SELECT pg_catalog.pg_try_advisory_lock($1)",
    params: ["int8"],
    columns: ["bool"],
  }),
  // Holds the lock for this flush only.
  probeLock: statement({
    text: "SELECT pg_catalog.pg_try_advisory_xact_lock($1)",
    params: ["int8"],
    columns: ["bool"],
  }),
};

function lookSql(table: string) {
  return {
    selectRows: statement({
      text: `SELECT uuid::pg_catalog.text, storage_connection_time,
          info::pg_catalog.text, pg_catalog.now()::timestamp
        FROM ${table} ORDER BY storage_connection_time LIMIT 10`,
      columns: ["text", "timestamp", "text?", "timestamp"],
    }),
    // Locks the row before the notification: an instance that starts meanwhile
    // waits until it is sent, and listens only later.
    remind: statement({
      text: `SELECT pg_catalog.pg_notify('${channel}', $4) IS NULL
        FROM (SELECT FROM ${table}
          WHERE uuid::pg_catalog.text = $1 AND storage_connection_time >= $2
            AND storage_connection_time <= $3
            AND (SELECT pg_catalog.count(*) FROM ${table}) = 1
          FOR SHARE) AS ours`,
      params: ["text", "timestamp", "timestamp", "text"],
      columns: ["bool"],
    }),
  };
}

function replaceSql(table: string) {
  return {
    begin: statement({
      text: "BEGIN ISOLATION LEVEL READ COMMITTED",
      once: true,
    }),
    commit: statement({ text: "COMMIT", once: true }),
    rollback: statement({ text: "ROLLBACK", once: true }),
    setTimeouts: statement({
      text: `SELECT pg_catalog.set_config('lock_timeout', '${rowLockMs}', true),
        pg_catalog.set_config('idle_in_transaction_session_timeout', '${idleMs}', true)`,
      columns: ["text", "text"],
      once: true,
    }),
    // Without this setting, Citus lets nobody lock a shard.
    allowShards: statement({
      text: `SELECT pg_catalog.set_config(
        'citus.enable_manual_changes_to_shards', 'on', true)`,
      columns: ["text"],
      once: true,
    }),
    lockTable: statement({
      text: `LOCK TABLE ${table} IN SHARE ROW EXCLUSIVE MODE`,
      once: true,
    }),
    replaceAll: statement({
      // Higher than every epoch that an earlier life of this name may have
      // sent.
      text: `WITH replaced AS (
          DELETE FROM ${table} RETURNING uuid, storage_connection_time AS epoch)
        INSERT INTO ${table} (uuid, storage_connection_time, info)
        SELECT $1, greatest(pg_catalog.now()::timestamp,
          (SELECT pg_catalog.max(epoch) + interval '1 second' FROM replaced
            WHERE uuid::pg_catalog.text = $1)), $2
        RETURNING storage_connection_time`,
      params: ["text", "text"],
      columns: ["timestamp"],
    }),
  };
}
