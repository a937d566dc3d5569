/** The schema's migrations; import this file alone from outside. */

export type { MigrationConnection } from "./connection.ts";
export { migrateDown, type MigrateDownOptions } from "./down.ts";
export { dropSchema } from "./drop_schema.ts";
export { printGrants, type PrintGrantsOptions } from "./grants.ts";
export { checkMigrations } from "./check.ts";
export { migrate, type MigrateOptions } from "./migrate.ts";
export {
  currentVersions,
  type MigrationTrack,
  type TrackVersions,
} from "./numbers.ts";
export { planUp } from "./plan.ts";
export {
  printMigrations,
  type PrintMigrationsOptions,
  printPendingMigrations,
} from "./print.ts";
export type {
  MigrationProgress,
  MigrationReport,
  ProgressListener,
} from "./report.ts";
export { readSchemaState, type SchemaState } from "./state.ts";
export { assertSchemaName, quoteIdentifier } from "./sql_text.ts";
