/** Reports a store's server, versions, owner and size. */

import { sqlStateOf } from "../../database/failures.ts";
import { holdersOf } from "../../database/lock_holder.ts";
import {
  currentVersions,
  readSchemaState,
  type SchemaState,
} from "../../database/migrations/mod.ts";
import { ownerRows } from "../../database/ownership/lock_session.ts";
import { type OwnerFacts, ownerFacts } from "../../database/ownership/rows.ts";
import { ownershipSql, ownersTable } from "../../database/ownership/sql.ts";
import type { Session } from "../../database/session.ts";
import { bind, type Bound, type ResultsOf } from "../../database/statement.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { printable, quoted } from "../../storage/foreign_text.ts";
import {
  schemaLockId,
  type StreamId,
  streamType,
} from "../../storage/stream_id.ts";
import { placementOf, readCluster } from "../cluster/cluster.ts";
import { tablesOnWorker } from "../cluster/worker_tables.ts";
import type { StorePlacement } from "../cluster/types.ts";
import { locationOf } from "../location.ts";
import { withSession } from "../session.ts";
import {
  selectEstimatedFamilies,
  selectExactFamilies,
  selectLongestTransaction,
  selectReadableTables,
  selectServer,
  selectSessions,
  selectStreamKinds,
  setLockTimeout,
} from "./status_sql.ts";
import type {
  OpenTransaction,
  ServerStatus,
  StoreStatus,
  StoreStatusOptions,
  StreamKind,
} from "./types.ts";

const operation = "storeStatus";

/**
 * Reports on a store: server, versions, owner, sessions, streams and tables. It
 * takes no lock. It also works with few rights, on a standby, and for a schema
 * that is older or newer than this release, and then returns what it can.
 *
 * ```ts
 * import { storeStatus } from "@towns/stream-storage/operator";
 *
 * const { owner, versions } = await storeStatus({ url, schema });
 * console.log(owner?.name, versions);
 * ```
 *
 * @throws {StreamStorageError} as `openStreamReader`; `BAD_CONFIG`,
 *   `schema_not_found` and `not_a_store`.
 */
export async function storeStatus(
  { schema, ...options }: StoreStatusOptions,
): Promise<StoreStatus> {
  return await withSession(
    operation,
    { ...options, schema },
    (session) => statusOf(session, schema),
  );
}

async function statusOf(
  session: Session,
  schema: string,
): Promise<StoreStatus> {
  const state = await readSchemaState(session, schema, {
    ownOnlyIfReadable: true,
  });
  refuseOther(schema, state);
  const [server, sessions, longest, readable] = await session.run([
    bind(selectServer),
    bind(selectSessions),
    bind(selectLongestTransaction),
    bind(selectReadableTables, schema),
  ]);
  const isReadable = new Set(readable.rows.map(([name]) => name));
  const its = serverOf(server.rows[0]!);
  const cluster = await readCluster(session);
  const placement = cluster === undefined ? null : placementOf(cluster, schema);
  return {
    server: its,
    schema,
    versions: state.versions,
    currentVersions,
    isDirty: state.dirty,
    partitions: state.partitions,
    placement,
    owner: isReadable.has("singlenodekey")
      ? await ownerOf(session, schema)
      : undefined,
    lockHolders: its.isStandby || placement?.isHere === false
      ? undefined
      : await holdersOf(session, schemaLockId(schema)),
    sessions: sessions.rows.map(([role, application, state, sessions]) => ({
      role: shown(role),
      application: shown(application),
      state,
      sessions,
    })),
    longestTransaction: transactionOf(longest.rows[0]),
    streams: isReadable.has("es")
      ? await streamsOf(session, schema, state.versions.node)
      : undefined,
    ...await tablesOf(session, schema, placement),
  };
}

function refuseOther(schema: string, state: SchemaState): void {
  if (state.exists && state.suffixes.length > 0) return;
  const [reason, message] = state.exists
    ? ["not_a_store", `Schema ${quoted(schema)} has no tables of a store`]
    : ["schema_not_found", `Schema ${quoted(schema)} does not exist`];
  throw new StreamStorageError({
    code: "BAD_CONFIG",
    message,
    details: { reason, schema },
  });
}

function serverOf(
  [
    version,
    database,
    isStandby,
    startedAt,
    maxConnections,
    connections,
    databaseBytes,
  ]: [string, string, boolean, string, bigint, bigint, bigint],
): ServerStatus {
  return {
    version: version.split(" ")[0]!,
    database,
    isStandby,
    startedAt,
    connections,
    maxConnections,
    databaseBytes,
  };
}

function transactionOf(
  row:
    | [number, string | null, string | null, string | null, number]
    | undefined,
): OpenTransaction | undefined {
  if (row === undefined) return undefined;
  const [pid, role, application, state, seconds] = row;
  return {
    pid,
    role: shown(role),
    application: shown(application),
    state,
    seconds: Math.round(seconds * 10) / 10,
  };
}

async function ownerOf(
  session: Session,
  schema: string,
): Promise<OwnerFacts | null | undefined> {
  const found = await unlessLocked(session, [
    bind(ownershipSql(ownersTable(schema)).selectRows),
  ]);
  return found && ownerFacts(ownerRows(found[0]));
}

async function streamsOf(
  session: Session,
  schema: string,
  nodeVersion: number,
): Promise<StreamKind[] | undefined> {
  const found = await unlessLocked(session, [
    bind(selectStreamKinds(schema, nodeVersion)),
  ]);
  return found?.[0].rows.map((
    [prefix, isEphemeral, location, streams],
  ) => ({
    type: streamType(prefix as StreamId),
    isEphemeral,
    location: locationOf(location),
    streams,
  }));
}

async function tablesOf(
  session: Session,
  schema: string,
  placement: StorePlacement | null,
): Promise<Pick<StoreStatus, "tables" | "areSizesEstimated">> {
  if (placement !== null) {
    return {
      areSizesEstimated: false,
      tables: await tablesOnWorker(session, placement),
    };
  }
  const exact = await unlessLocked(session, [
    bind(selectExactFamilies, schema),
  ]);
  const { rows } = exact?.[0] ??
    (await session.run([bind(selectEstimatedFamilies, schema)]))[0];
  return {
    areSizesEstimated: exact === undefined,
    tables: rows.map((
      [
        name,
        tables,
        tableBytes,
        indexBytes,
        rows,
        deadRows,
        lastVacuum,
        vacuumed,
      ],
    ) => ({
      name,
      tables,
      tableBytes,
      indexBytes,
      rows,
      deadRows,
      lastVacuum,
      vacuumed,
    })),
  };
}

/** Returns undefined if a lock of another session stands in the way. */
async function unlessLocked<const B extends readonly Bound[]>(
  session: Session,
  bound: B,
): Promise<ResultsOf<B> | undefined> {
  try {
    const [, ...results] = await session.run([bind(setLockTimeout), ...bound]);
    return results as ResultsOf<B>;
  } catch (error) {
    if (sqlStateOf(error) === "55P03") return undefined;
    throw error;
  }
}

function shown(text: string | null): string | null {
  return text && printable(text, 64);
}
