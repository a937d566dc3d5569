/** Checks of a Citus cluster and of a schema that lives in one. */

import { bind } from "../../database/statement.ts";
import { quoted } from "../../storage/foreign_text.ts";
import {
  selectCluster,
  selectLocalTables,
  selectNotifier,
  selectServers,
  selectUnnamedTables,
} from "./cluster_sql.ts";
import { fail, few, ok, type Result, unknown, warn } from "./diagnosis.ts";
import type { Check } from "./look.ts";
import type { SchemaLook } from "./schema_look.ts";

const shown = (host: string, port: number) => `${host}:${port}`;

/** Checks the servers of the cluster, regardless of what they store. */
export const cluster: Check = {
  name: "cluster",
  async run({ hasCitus, ask }) {
    if (!hasCitus) return [ok("None: a plain server")];
    const [{ rows: [state] }, { rows: servers }] = await ask([
      bind(selectCluster),
      bind(selectServers),
    ]);
    const [isCoordinator, distributes, walLevel] = state!;
    const workers = servers.filter(([, , isIt]) => !isIt);
    if (workers.length === 0 && isCoordinator) {
      return [ok("Citus without worker nodes: as a plain server")];
    }
    const results: Result[] = [];
    const behind = servers.filter(([, , , isSynced]) => !isSynced);
    if (behind.length > 0) {
      results.push(fail(
        `${few(behind.map(([host, port]) => shown(host, port)))} has no copy ` +
          "of the cluster's catalogue, or an old one: no store finds its " +
          "schema there",
        "SELECT start_metadata_sync_to_all_nodes() on the coordinator.",
      ));
    }
    if (workers.length === servers.length) {
      results.push(fail(
        "The worker nodes don't know the coordinator: they can't migrate",
        "SELECT citus_set_coordinator_host('its name', its port) on it.",
      ));
    }
    if (!distributes) {
      results.push(warn(
        "citus.enable_schema_based_sharding is off: new schemas stay on the " +
          "coordinator",
        "ALTER DATABASE … SET citus.enable_schema_based_sharding = on.",
      ));
    }
    if (walLevel !== "logical") {
      results.push(warn(
        `wal_level is ${walLevel}: while a schema moves, it can't be written`,
        "ALTER SYSTEM SET wal_level = logical on every server; restart them.",
      ));
    }
    if (results.length > 0) return results;
    return [ok(`${workers.length} worker nodes, all with the catalogue`)];
  },
};

/** Checks how the cluster holds the schema. */
export const distribution: Check<SchemaLook> = {
  name: "distribution",
  async run({ hasCitus, home, schema, ask }) {
    if (!hasCitus) return [ok("A schema of a plain server")];
    if (home === undefined) return [await ofPlainSchema(ask, schema)];
    const [{ rows: [state] }, local, unnamed, notifier] = await ask([
      bind(selectCluster),
      bind(selectLocalTables, schema),
      bind(selectUnnamedTables, schema),
      bind(selectNotifier, schema),
    ]);
    const results: Result[] = [];
    const names = (rows: readonly [string][]) =>
      few(rows.map(([name]) => name));
    if (local.rows.length > 0) {
      results.push(fail(
        `${names(local.rows)} did not move with the schema: rows written ` +
          "there stay on this server",
        "ALTER TABLE each of them SET SCHEMA another one, then back to " +
          `${quoted(schema)}. Make tables by plain statements, not in a DO ` +
          "block.",
      ));
    }
    if (unnamed.rows.length > 0) {
      results.push(fail(
        `The schema can't be moved while it is written: no replica identity in ` +
          names(unnamed.rows),
        "ALTER TABLE each of them REPLICA IDENTITY FULL, as `migrate up` does.",
      ));
    }
    if (notifier.rows[0]?.[0] === true) {
      results.push(warn(
        "The trigger of singlenodekey notifies by the name of a shard, where " +
          "no Go node listens",
        "Run `migrate up`: our version 9 writes the channel's name.",
      ));
    }
    if (results.length > 0) return results;
    const lives = `It lives on ${shown(home.address.host, home.address.port)}`;
    const [isCoordinator] = state!;
    return [
      isCoordinator
        ? ok(`${lives}, all ${home.shards.size} tables of it`)
        : unknown(
          `${lives}; tables that stayed behind can only be seen on the ` +
            "coordinator",
        ),
    ];
  },
};

async function ofPlainSchema(
  ask: SchemaLook["ask"],
  schema: string,
): Promise<Result> {
  const [{ rows }] = await ask([bind(selectServers)]);
  if (rows.every(([, , isCoordinator]) => isCoordinator)) {
    return ok("Not distributed: there are no worker nodes");
  }
  return warn(
    `Schema ${quoted(schema)} is not distributed: it stays on one server`,
    "SELECT citus_schema_distribute('its name') on the coordinator, with " +
      "citus.enable_unsafe_triggers = on, and its store closed.",
  );
}
