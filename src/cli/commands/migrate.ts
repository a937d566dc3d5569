/** `migrate`: manages a schema's versions. */

import { printGrants } from "../../database/migrations/mod.ts";
import type {
  MigrationProgress,
  MigrationReport,
} from "../../database/migrations/mod.ts";
import {
  checkStoreMigrations,
  migrateStore,
  migrateStoreDown,
  type MigrationPlan,
  planStoreMigrations,
  printStoreMigrations,
} from "../../operator/migrations/migrate_store.ts";
import { isStreamStorageError } from "../../storage/errors.ts";
import { quoted } from "../../storage/foreign_text.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { plural } from "../format.ts";
import { wrapped } from "../screen.ts";
import {
  findServer,
  serverOf,
  withOwner,
  withStore,
} from "../store_options.ts";
import { UsageError } from "../usage_errors.ts";
import { integer } from "../values.ts";

/** See the file's head. */
export function define(command: NewCommand): void {
  definePlan(command);
  defineUp(command);
  defineDown(command);
  defineCheck(command);
  definePrint(command);
  defineGrants(command);
  command.addHelpText(
    "after",
    examples(
      "migrate plan --schema NAME",
      "migrate up --schema NAME --partitions 16",
      "migrate down --schema NAME --to 8   # a node's version",
      "migrate down --schema NAME --own 6  # ours, of an older release",
      "migrate print --schema NAME         # the SQL of a new schema",
    ),
  );
}

const partitions = [
  "--partitions <n>",
  "1 to 256, for a new schema (default: 256)",
  integer("--partitions", { min: 1, max: 256 }),
] as const;

function definePlan(command: NewCommand): void {
  withStore(command.command("plan"))
    .description("show which versions up would apply")
    .option(...partitions)
    .action(run(async (cli, options) => {
      const place = await placeOf(options, cli);
      const plan = await planStoreMigrations({ ...place, ...given(options) });
      if (cli.isJson) await cli.document(plan);
      else await printWrapped(cli, describePlan(plan));
      return 0;
    }));
}

function defineUp(command: NewCommand): void {
  withOwner(withStore(command.command("up")))
    .description("bring the schema to this release's versions")
    .option(...partitions)
    .action(run(async (cli, options) => {
      const { takeOver = false } = options;
      const place = await placeOf(options, cli);
      return await report(
        cli,
        (onProgress) =>
          migrateStore({ ...place, ...given(options), takeOver, onProgress }),
      );
    }));
}

function defineDown(command: NewCommand): void {
  withOwner(withStore(command.command("down")))
    .description("undo versions")
    .option(
      "--to <version>",
      "end at this version of a node: 8, 7, 6, or 0 to remove all",
      integer("--to"),
    )
    .option(
      "--own <version>",
      "end at this version of our own track",
      integer("--own"),
    )
    .option("--allow-data-loss", "go on even if that drops data")
    .action(run(async (cli, options) => {
      const { to, own, allowDataLoss = false, takeOver = false } = options;
      if (to === undefined && own === undefined) {
        throw new UsageError("Expected --to or --own");
      }
      const place = await placeOf(options, cli);
      return await report(cli, (onProgress) =>
        migrateStoreDown({
          ...place,
          ...(to !== undefined && { to }),
          ...(own !== undefined && { own }),
          allowDataLoss,
          takeOver,
          onProgress,
        }));
    }));
}

function defineCheck(command: NewCommand): void {
  withStore(command.command("check"))
    .description("fail with status 1 unless the schema is current")
    .action(run(async (cli, options) => {
      const place = await placeOf(options, cli);
      try {
        return await report(cli, () => checkStoreMigrations(place));
      } catch (error) {
        const { reason } = isStreamStorageError(error) ? error.details : {};
        if (!isStreamStorageError(error) || reason !== "schema_not_current") {
          throw error;
        }
        const { code, message, details } = error;
        if (cli.isJson) await cli.document({ code, message, details });
        else await printWrapped(cli, [`${message} (${code}, ${reason})`]);
        return 1;
      }
    }));
}

function definePrint(command: NewCommand): void {
  withStore(command.command("print"))
    .description(
      "print the SQL that up would run; without a server, for a new schema",
    )
    .option(...partitions)
    .action(run(async (cli, options) => {
      const url = await findServer(options);
      const { signal } = cli;
      const sql = await printStoreMigrations({
        schema: schemaOf(options),
        ...given(options),
        ...(url !== undefined && { url }),
        signal,
      });
      await cli.print(sql.trimEnd());
      return 0;
    }));
}

function defineGrants(command: NewCommand): void {
  command.command("grants")
    .description("print the SQL that gives three roles their rights")
    .requiredOption("--schema <name>", "the schema")
    .requiredOption("--migrate-role <name>", "the role that owns the schema")
    .requiredOption("--run-role <name>", "the role that opens stores")
    .requiredOption("--read-role <name>", "the role that only reads")
    .action(run(async (cli, options) => {
      await cli.print(printGrants(options).trimEnd());
      return 0;
    }));
}

/** Wraps lines, because a schema's name may be long. */
async function printWrapped(cli: Cli, lines: string[]): Promise<void> {
  await cli.print(...lines.map((line) => wrapped(line, cli.width)));
}

/**
 * The schema's name. A new schema can't be found, so the option is required.
 */
function schemaOf({ schema }: { schema?: string | undefined }): string {
  if (schema === undefined) throw new UsageError("Expected --schema");
  return schema;
}

async function placeOf(
  options: Parameters<typeof serverOf>[0] & { schema?: string | undefined },
  { signal }: Pick<Cli, "signal">,
) {
  const schema = schemaOf(options);
  return { url: await serverOf(options), schema, signal };
}

function given({ partitions }: { partitions?: number | undefined }) {
  return partitions === undefined ? {} : { partitions };
}

async function report(
  cli: Cli,
  work: (
    onProgress: (progress: MigrationProgress) => void,
  ) => Promise<MigrationReport>,
): Promise<0> {
  using progress = cli.progress("Migrating", "steps");
  const its = await work(({ state, activity, done, total }) =>
    progress.at({
      done,
      total: total || undefined,
      note: state === "waiting" ? "another process migrates" : activity,
    })
  );
  if (cli.isJson) await cli.document(its);
  else await printWrapped(cli, describe(its));
  return 0;
}

function describe(report: MigrationReport): string[] {
  const { schema, partitions, elapsedMs, warnings } = report;
  const is = versions(report.to, report.ownTo);
  const was = versions(report.from, report.ownFrom);
  const change = is === was ? "" : `, was at ${was}`;
  return [
    `Schema ${quoted(schema)} is at version ${is}${change}`,
    `Partitions: ${partitions ?? "none"}; ${Math.round(elapsedMs)} ms`,
    ...warnings.map((warning) => `Warning: ${warning}`),
  ];
}

function versions(node: number, own: number): string {
  return `${node || "none"}, own ${own || "none"}`;
}

function describePlan({ schema, from, to, steps }: MigrationPlan): string[] {
  const is = versions(from.node, from.own);
  if (steps.length === 0) {
    return [`Schema ${quoted(schema)} is at version ${is}`, "Nothing to do"];
  }
  return [
    `Schema ${quoted(schema)} is at version ${is}; up to ` +
    `${versions(to.node, to.own)}:`,
    ...steps.map(({ track, version, transactions }) =>
      `- ${track} version ${version}, ${plural(transactions, "transaction")}`
    ),
  ];
}
