/** A schema for a test of migrations, which is dropped afterwards. */
import type { Session } from "../../../src/database/session.ts";
import {
  dropSchema,
  migrate,
  type MigrateOptions,
  type MigrationReport,
} from "../../../src/database/migrations/mod.ts";
import { testDatabaseUrl, uniqueName } from "../database.ts";
import { openSession } from "../migration_connection.ts";

/** The tables of our own track, from version 1 on. */
export const ownTables = [
  "@.stream_storage_ephemeral",
  "@.stream_storage_trimming",
  "@.stream_storage_workers",
  "@.stream_storage_media_blocks",
  "@.stream_storage_media_tasks",
  "@.stream_storage_media_changes",
  "@.stream_storage_deletions",
];

/** The schema, and what a test of migrations needs around it. */
export interface MigrationFixture {
  url: string;
  schema: string;
  session: Session;
  /** Migrates the schema up; 2 partitions unless the options say otherwise. */
  up(options?: Partial<MigrateOptions>): Promise<MigrationReport>;
  /** Runs SQL in which `@` stands for the schema. */
  sql(text: string): Promise<(string | null)[][]>;
}

/** Calls `body` with a session and the name of a schema that does not exist. */
export async function withMigrationSchema(
  body: (fixture: MigrationFixture) => Promise<void>,
): Promise<void> {
  const url = await testDatabaseUrl();
  const session = await openSession(url);
  const schema = uniqueName("migrations");
  try {
    await body({
      url,
      schema,
      session,
      up: (options) => migrate(session, { schema, partitions: 2, ...options }),
      sql: (text) => session.script(text.replaceAll("@", schema)),
    });
  } finally {
    await dropSchema(session, schema);
    await session.close();
  }
}
