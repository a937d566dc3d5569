/** Migrations as functions: up, down, check, plan and print. */

import { operationError } from "../../database/failures.ts";
import {
  checkMigrations,
  currentVersions,
  migrate,
  migrateDown,
  type MigrationReport,
  type MigrationTrack,
  planUp,
  printMigrations,
  printPendingMigrations,
  type ProgressListener,
  readSchemaState,
  type TrackVersions,
} from "../../database/migrations/mod.ts";
import type { OwnerOptions } from "../repair/owner.ts";
import { type ServerOptions, withSession } from "../session.ts";
import { type Ground, onGround } from "./owning.ts";

/** The options of {@linkcode migrateStore}. */
export interface MigrateStoreOptions extends OwnerOptions {
  /** Called with the progress of the migrations. */
  onProgress?: ProgressListener;
}

/** The options of {@linkcode migrateStoreDown}. */
export interface MigrateStoreDownOptions extends MigrateStoreOptions {
  /**
   * The version of the node's track to end at; 0 removes everything. Default:
   * the present one.
   */
  to?: number;
  /** The version of our own track to end at. Default: the present one. */
  own?: number;
  /** Go on even if rows or columns with data are dropped. Default false. */
  allowDataLoss?: boolean;
}

/** A version that is to be applied. */
export interface PlannedMigration {
  /** The track that numbers it. */
  track: MigrationTrack;
  /** Its number. */
  version: number;
  /** How many transactions it takes. */
  transactions: number;
}

/** The result of {@linkcode planStoreMigrations}. */
export interface MigrationPlan {
  /** The schema. */
  schema: string;
  /** The schema's present versions; 0: none. */
  from: TrackVersions;
  /** The versions that this release works with. */
  to: TrackVersions;
  /** The versions to apply, in order. */
  steps: PlannedMigration[];
}

/** The schema whose migrations are checked, planned or printed. */
export interface MigrationLookOptions extends ServerOptions {
  /** The schema, which need not exist. */
  schema: string;
  /** The number of partitions of a new schema, 1 to 256. Default 256. */
  partitions?: number;
}

/**
 * Brings a schema to the versions of this release, as opening a store does. It
 * owns the schema meanwhile. If the schema is current, nothing is done and no
 * owner is needed.
 *
 * ```ts
 * import { migrateStore } from "@towns/stream-storage/operator";
 *
 * const { from, to } = await migrateStore({ url, schema });
 * console.log(from, to);
 * ```
 *
 * @throws {StreamStorageError} as `openStreamStorage`; RESOURCE_EXHAUSTED,
 *   `schema_owned`, unless `takeOver`.
 */
export async function migrateStore(
  { onProgress, ...options }: MigrateStoreOptions,
): Promise<MigrationReport> {
  return await withTypedErrors("migrateStore", options, async (ground) => {
    const { session, options: { schema, partitions, signal } } = ground;
    const { exists, versions } = await readSchemaState(session, schema);
    if (exists && isCurrent(versions)) {
      return await checkMigrations(session, { schema });
    }
    let report: MigrationReport | undefined;
    await ground.owning({
      prepare: async () => {
        // `prepare` runs again if a new schema was distributed to a worker. The
        // first report counts.
        report ??= await ground.changing((at) =>
          migrate(at, { schema, partitions, signal, onProgress })
        );
      },
    });
    return report!;
  });
}

/**
 * Undoes migrations, for a node or for an older release.
 *
 * @throws {StreamStorageError} as {@linkcode migrateStore}; FAILED_PRECONDITION,
 *   `data_loss`; INVALID_ARGUMENT, `bad_version`.
 */
export async function migrateStoreDown(
  { to, own, allowDataLoss, onProgress, ...options }: MigrateStoreDownOptions,
): Promise<MigrationReport> {
  return await withTypedErrors("migrateStoreDown", options, async (ground) => {
    const { session, options: { schema, signal } } = ground;
    const down = () =>
      ground.changing((at) =>
        migrateDown(at, { schema, to, own, allowDataLoss, onProgress, signal })
      );
    const { versions } = await readSchemaState(session, schema);
    // Without the first version there is no table of owners, so there can't be
    // an owner.
    if (versions.node === 0) return await down();
    let report: MigrationReport | undefined;
    await ground.owning({
      work: async () => {
        report = await down();
      },
    });
    return report!;
  });
}

/**
 * Throws unless a schema is current. It changes and locks nothing.
 *
 * @throws {StreamStorageError} BAD_CONFIG, `schema_not_current` and others.
 */
export async function checkStoreMigrations(
  options: MigrationLookOptions,
): Promise<MigrationReport> {
  const { schema } = options;
  return await withSession(
    "checkStoreMigrations",
    serverOptions(options),
    (session) => checkMigrations(session, { schema }),
  );
}

/**
 * Returns the versions that {@linkcode migrateStore} would apply. It changes
 * nothing.
 *
 * @throws {StreamStorageError} as `openStreamReader`.
 */
export async function planStoreMigrations(
  options: MigrationLookOptions,
): Promise<MigrationPlan> {
  const { schema, partitions = 256 } = options;
  return await withSession(
    "planStoreMigrations",
    serverOptions(options),
    async (session) => {
      const state = await readSchemaState(session, schema);
      const range = { from: state.versions, to: currentVersions };
      const planned = planUp(schema, range, state.partitions ?? partitions);
      const steps = planned.map(({ migration, transactions }) => ({
        track: migration.track,
        version: migration.version,
        transactions: transactions.length,
      }));
      return { schema, ...range, steps };
    },
  );
}

/**
 * Returns the SQL that {@linkcode migrateStore} would run, for people who want
 * to run it themselves. Without an address, the SQL makes a new schema.
 *
 * @throws {StreamStorageError} as `openStreamReader`.
 */
export async function printStoreMigrations(
  options: MigrationLookOptions,
): Promise<string> {
  const { schema, partitions = 256 } = options;
  if (options.url === undefined && options.host === undefined) {
    return printMigrations({ schema, partitions });
  }
  return await withSession(
    "printStoreMigrations",
    serverOptions(options),
    (session) => printPendingMigrations(session, { schema, partitions }),
  );
}

function serverOptions({ partitions: _, ...options }: MigrationLookOptions) {
  return { ...options, applicationName: "stream-migrate" };
}

function isCurrent({ node, own }: TrackVersions): boolean {
  return node === currentVersions.node && own === currentVersions.own;
}

async function withTypedErrors<T>(
  operation: string,
  options: OwnerOptions,
  work: (ground: Ground) => Promise<T>,
): Promise<T> {
  try {
    return await onGround(options, work);
  } catch (error) {
    const { signal } = options;
    throw operationError(operation, error, signal);
  }
}
