/** Migrates a schema from the command line; see `usage`. */

import process from "node:process";
import { parseConnectionUrl } from "../src/database/connection_target.ts";
import { toStorageError } from "../src/database/failures.ts";
import { connectLastingSession } from "../src/database/lasting_session.ts";
import {
  checkMigrations,
  migrate,
  migrateDown,
  type MigrationConnection,
  type MigrationProgress,
  type MigrationReport,
  printGrants,
  printMigrations,
  printPendingMigrations,
} from "../src/database/migrations/mod.ts";
import { parseArguments } from "./arguments.ts";
import {
  connectionUrl,
  urlOptions,
  urlUsage,
  urlVariable,
} from "./connection_url.ts";

const usage = `Usage: deno task migrate COMMAND --schema NAME [options]

  up      bring the schema to the current version
  down    take versions back: a node's to --to N (8, 7, 6, or 0 for everything),
          our own to --own N, for an older release
  check   fail unless the schema is current
  print   show the SQL that up would run; without an address for a new schema
  grants  show the SQL that gives three roles their rights on the schema

${urlUsage}
                   Default: the address in the environment's ${urlVariable}
  --partitions N   1 to 256, for a new schema; default 256
  --to N, --own N  the versions to go down to
  --allow-data-loss
                   go down even if that drops data
  --migrate-role, --run-role, --read-role NAME
                   who owns the schema, opens stores, only reads
  --json           print the report, or the error, as JSON`;

/** A run that takes longer tells where it is. */
const slowMs = 1000;

/** The longest that one statement may take, an index on a large table. */
const statementMs = 6 * 60 * 60 * 1000;

const commands = ["up", "down", "check", "print", "grants"] as const;

type Arguments = ReturnType<typeof readArguments>;

/** @throws {Error} what is wrong with the arguments. */
function readArguments(args: string[]) {
  const { values, positionals } = parseArguments({
    args,
    allowPositionals: true,
    options: {
      ...urlOptions,
      schema: { type: "string" },
      partitions: { type: "string", default: "256" },
      to: { type: "string" },
      own: { type: "string" },
      "allow-data-loss": { type: "boolean", default: false },
      "migrate-role": { type: "string" },
      "run-role": { type: "string" },
      "read-role": { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const [name = "", ...more] = positionals;
  const command = commands.find((command) => command === name);
  if (command === undefined || more.length > 0) {
    throw new Error(
      `Expected one command of ${commands.join(", ")}, received ` +
        `${positionals.length} arguments without a name (they are not shown)`,
    );
  }
  const { schema } = values;
  if (schema === undefined) throw new Error("Expected --schema");
  for (const name of ["migrate-role", "run-role", "read-role"] as const) {
    if (command === "grants" && values[name] === undefined) {
      throw new Error(`Expected --${name}`);
    }
  }
  const isAddressed =
    (values.url ?? values["url-file"] ?? fromEnvironment()) !==
      undefined;
  if (!isAddressed && command !== "print" && command !== "grants") {
    throw new Error(`Expected --url, --url-file or ${urlVariable}`);
  }
  if (command === "down" && (values.to ?? values.own) === undefined) {
    throw new Error("Expected --to or --own");
  }
  const partitions = Number(values.partitions);
  const [to, own] = [values.to, values.own]
    .map((version) => version === undefined ? undefined : Number(version));
  return { ...values, command, schema, partitions, to, own };
}

function fromEnvironment(): string | undefined {
  return process.env[urlVariable] || undefined;
}

async function run(args: Arguments): Promise<string> {
  const { command, schema, partitions } = args;
  if (command === "grants") {
    return printGrants({
      schema,
      migrateRole: args["migrate-role"] ?? "",
      runRole: args["run-role"] ?? "",
      readRole: args["read-role"] ?? "",
    });
  }
  const url = await connectionUrl(args, fromEnvironment());
  if (url === undefined) return printMigrations({ schema, partitions });
  const session = await connectLastingSession(parseConnectionUrl(url), {
    preparedStatements: false,
    maxPrepared: 1,
    answerTimeoutMs: statementMs,
  });
  try {
    if (command === "print") {
      return await printPendingMigrations(session, { schema, partitions });
    }
    const report = await runCommand(session, command, args);
    return args.json ? `${JSON.stringify(report)}\n` : describe(report);
  } finally {
    await session.close();
  }
}

function runCommand(
  session: MigrationConnection,
  command: "up" | "down" | "check",
  args: Arguments,
): Promise<MigrationReport> {
  const { schema, partitions, to, own } = args;
  const onProgress = args.json ? undefined : progressPrinter();
  switch (command) {
    case "up":
      return migrate(session, { schema, partitions, onProgress });
    case "check":
      return checkMigrations(session, { schema });
    case "down": {
      const allowDataLoss = args["allow-data-loss"];
      return migrateDown(session, {
        schema,
        to,
        own,
        allowDataLoss,
        onProgress,
      });
    }
  }
}

/** Silent at first, then a line for each second and activity. */
function progressPrinter(): (progress: MigrationProgress) => void {
  let nextMs = slowMs;
  return ({ state, activity, done, total, elapsedMs }) => {
    if (elapsedMs < nextMs) return;
    nextMs = elapsedMs + slowMs;
    console.error(
      state === "waiting"
        ? "Another process migrates this schema, waiting"
        : `${activity}: ${done} of ${total} transactions`,
    );
  };
}

function describe(report: MigrationReport): string {
  const { schema, partitions, elapsedMs, warnings } = report;
  const is = versions(report.to, report.ownTo);
  const was = versions(report.from, report.ownFrom);
  const change = is === was ? "" : `, was at ${was}`;
  const lines = [
    `Schema ${JSON.stringify(schema)} is at version ${is}${change}`,
    `Partitions: ${partitions ?? "none"}; ${Math.round(elapsedMs)} ms`,
    ...warnings.map((warning) => `Warning: ${warning}`),
  ];
  return `${lines.join("\n")}\n`;
}

function versions(node: number, own: number): string {
  return `${node || "none"}, own ${own || "none"}`;
}

async function main(): Promise<number> {
  let args: Arguments;
  try {
    args = readArguments(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  try {
    process.stdout.write(await run(args));
    return 0;
  } catch (error) {
    const { code, message, details } = toStorageError(error);
    console.error(
      args.json
        ? JSON.stringify({ code, message, details })
        : `${message} (${code}, ${details.reason})`,
    );
    return 1;
  }
}

if (import.meta.main) process.exitCode = await main();
