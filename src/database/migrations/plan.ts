/**
 * The steps of a migration run, as data: the same plan is run and printed.
 *
 * Why an interrupted run does no harm: whenever a version is recorded, all its
 * objects exist. Nearly every version is one transaction with its version row.
 * A version that is split (see versions.ts) is recorded in its last transaction
 * on the way up, after all partition tables, and removed in its first on the
 * way down, before any table is dropped. In between there may be partition
 * tables above the recorded version, each complete with its storage settings,
 * or tables that have a storage parameter ahead of it. Every statement on them
 * is idempotent, so the next run in either direction completes the work. Going
 * up over rows that an interrupted way down left is refused (migrate.ts), so
 * old rows are never taken for new ones.
 *
 * Each transaction first checks the recorded version, so a printed script that
 * is run at the wrong moment stops before it changes anything.
 */

import {
  firstVersion,
  type MigrationTrack,
  partitionSuffixes,
  type TrackVersions,
} from "./numbers.ts";
import { quoteIdentifier } from "./sql_text.ts";
import { parseTemplate, renderSection } from "./template.ts";
import {
  type Migration,
  nodeMigrations,
  ownMigrations,
  prepareSql,
  suffixesPerBatch,
} from "./versions.ts";

export { partitionSuffixes } from "./numbers.ts";

/** One version's step, up or down. */
export interface MigrationStep {
  migration: Migration;
  /** SQL of each transaction, without BEGIN and COMMIT. */
  transactions: string[];
}

/** The versions between which a plan leads. */
export interface PlanRange {
  from: TrackVersions;
  to: TrackVersions;
}

/** The SQL of the transaction before the first version. */
export function planPreparation(schema: string, partitions: number): string {
  const values = { schema: quoteIdentifier(schema), partitions };
  return parseTemplate(prepareSql)
    .flatMap((section) => renderSection(section, values, [])).join("\n");
}

/** The steps up; `last` are statements that the last transaction ends with. */
export function planUp(
  schema: string,
  range: PlanRange,
  partitions: number,
  last: readonly string[] = [],
): MigrationStep[] {
  const suffixes = partitionSuffixes(partitions);
  const steps = [...nodeMigrations, ...ownMigrations]
    .filter(({ track, version }) =>
      version > range.from[track] && version <= range.to[track]
    )
    .map((migration) => {
      const { once, batches } = render(schema, migration, "up", suffixes);
      const guard = guardSql(schema, migration.track, versionBefore(migration));
      const record = recordSql(schema, migration, "up");
      const transactions = batches.map((batch) => [guard, ...batch]);
      transactions.at(-1)!.push(...once, record);
      return { migration, transactions };
    });
  steps.at(-1)?.transactions.at(-1)?.push(...last);
  return steps.map(({ migration, transactions }) => ({
    migration,
    transactions: transactions.map(joinLines),
  }));
}

/**
 * The steps down. `present` are the suffixes of all partition tables in the
 * schema: the step below the first version removes them all, used or not, and
 * with them the rest of an interrupted run.
 */
export function planDown(
  schema: string,
  range: PlanRange,
  suffixes: { used: readonly string[]; present: readonly string[] },
): MigrationStep[] {
  return migrationsDown(range, suffixes.present).map((migration) => {
    const { track, version } = migration;
    const { once, batches } = render(
      schema,
      migration,
      "down",
      suffixesDown(migration, suffixes),
    );
    const before = versionBefore(migration);
    const first = Math.min(version, range.from[track]);
    const transactions = batches.map((batch, i) => [
      guardSql(schema, track, i === 0 ? first : before),
      ...(i === 0 ? [...once, recordSql(schema, migration, "down")] : []),
      ...batch,
    ]);
    return { migration, transactions: transactions.map(joinLines) };
  });
}

/**
 * Queries that each return one row, `t` if taking back the migration would lose
 * data. `once` is false when at most partition tables of the version are left.
 */
export function planLossChecks(
  schema: string,
  migration: Migration,
  options: { suffixes: readonly string[]; once: boolean },
): string[] {
  const values = { schema: quoteIdentifier(schema) };
  return parseTemplate(migration.down)
    .filter(({ lost, scope }) => lost && (options.once || scope !== "once"))
    .flatMap((section) =>
      batchesOf(options.suffixes, suffixesPerBatch)
        .map((batch) => renderSection(section, values, batch))
        .filter((queries) => queries.length > 0)
    )
    .map((queries) =>
      `SELECT ${queries.map((query) => `EXISTS (${query})`).join("\nOR ")}`
    );
}

/** The migrations to take back, newest first, those of our own track first. */
export function migrationsDown(
  { from, to }: PlanRange,
  present: readonly string[],
): Migration[] {
  const isLeftOver = ({ track, version }: Migration) =>
    track === "node" && version === firstVersion && present.length > 0;
  return [...nodeMigrations, ...ownMigrations].toReversed()
    .filter((migration) => migration.version > to[migration.track])
    .filter((migration) =>
      migration.version <= from[migration.track] || isLeftOver(migration)
    );
}

/** The partition suffixes that are affected by taking back a migration. */
export function suffixesDown(
  { track, version }: Migration,
  suffixes: { used: readonly string[]; present: readonly string[] },
): readonly string[] {
  return track === "node" && version === firstVersion
    ? suffixes.present
    : suffixes.used;
}

/** The statements of one direction: those that run once, and the batches. */
function render(
  schema: string,
  migration: Migration,
  direction: "up" | "down",
  suffixes: readonly string[],
): { once: string[]; batches: string[][] } {
  const values = { schema: quoteIdentifier(schema) };
  const sections = parseTemplate(migration[direction])
    .filter((section) => !section.lost);
  return {
    once: sections.filter(({ scope }) => scope === "once")
      .flatMap((section) => renderSection(section, values, [])),
    batches: batchesOf(suffixes, migration.suffixesPerTransaction)
      .map((batch) =>
        sections.filter(({ scope }) => scope !== "once")
          .flatMap((section) => renderSection(section, values, batch))
      ),
  };
}

/** At least one batch, so that every plan has a transaction for its record. */
function batchesOf(
  suffixes: readonly string[],
  size: number,
): (readonly string[])[] {
  if (suffixes.length <= size) return [suffixes];
  return [suffixes.slice(0, size), ...batchesOf(suffixes.slice(size), size)];
}

function versionBefore({ track, version }: Migration): number {
  const migrations = track === "node" ? nodeMigrations : ownMigrations;
  return migrations.findLast((other) => other.version < version)?.version ?? 0;
}

const bookkeeping: Record<MigrationTrack, string> = {
  node: "schema_migrations",
  own: "stream_storage_migrations",
};

function tableOf(schema: string, track: MigrationTrack): string {
  return `${quoteIdentifier(schema)}.${bookkeeping[track]}`;
}

/** Fails the transaction with a cast whose text gives the reason. */
function guardSql(
  schema: string,
  track: MigrationTrack,
  version: number,
): string {
  return `SELECT CASE found WHEN ${version} THEN 0 ELSE
  ('expected version ${version}, found ' || found::pg_catalog.text)::int END
FROM (SELECT coalesce(pg_catalog.max(version), 0) AS found
  FROM ${tableOf(schema, track)}) AS versions;`;
}

/** The nodes' track is one row, as in golang-migrate; ours is a history. */
function recordSql(
  schema: string,
  migration: Migration,
  direction: "up" | "down",
): string {
  const { track, version } = migration;
  const table = tableOf(schema, track);
  if (track === "own") {
    return direction === "up"
      ? `INSERT INTO ${table} (version) VALUES (${version});`
      : `DELETE FROM ${table} WHERE version = ${version};`;
  }
  const recorded = direction === "up" ? version : versionBefore(migration);
  return [
    `DELETE FROM ${table};`,
    recorded === 0
      ? ""
      : `INSERT INTO ${table} (version, dirty) VALUES (${recorded}, false);`,
  ].filter(Boolean).join("\n");
}

function joinLines(lines: readonly string[]): string {
  return lines.join("\n");
}
