/** Changes of a cluster's schema, which only the coordinator accepts. */

import {
  assertCoordinator,
  readClusterState,
} from "../database/migrations/cluster.ts";
import { refusal } from "../database/migrations/refusals.ts";
import { readSchemaState } from "../database/migrations/state.ts";
import type { ConnectOptions } from "../database/driver.ts";
import type { Session } from "../database/session.ts";
import { quoted } from "../storage/foreign_text.ts";
import type { Place } from "./connections.ts";

/** The session at hand, and how to make another one. */
export interface CoordinatorOptions {
  place: Place;
  schema: string;
  /** A session with any server of the cluster, or with a plain server. */
  session: Session;
  connect: Partial<ConnectOptions>;
}

/**
 * Runs `work` on the session. If that session is with a worker node of a
 * cluster, runs it on a new session with the coordinator, and closes that.
 *
 * @throws {StreamStorageError} BAD_CONFIG, `cluster_schema_not_distributed`:
 *   the schema would stay on the coordinator, while the store is on a worker
 *   node; `cluster_needs_coordinator`: the worker node does not know its
 *   coordinator.
 */
export async function onCoordinator<T>(
  { place, schema, session, connect }: CoordinatorOptions,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { hasCitus } = await readSchemaState(session, schema);
  if (!hasCitus) return await work(session);
  const cluster = await readClusterState(session, schema);
  if (cluster.isCoordinator) return await work(session);
  if (!cluster.isDistributed && !cluster.isWanted) {
    throw refusal(
      "cluster_schema_not_distributed",
      `Schema ${quoted(schema)} is not distributed, and this server is a ` +
        "worker node of a cluster: set citus.enable_schema_based_sharding = " +
        "on for the database, or give the coordinator's address",
      { schema },
    );
  }
  if (place.home.coordinator === undefined) assertCoordinator(schema, cluster);
  await using coordinator = await place.connectCoordinator(connect);
  return await work(coordinator);
}
