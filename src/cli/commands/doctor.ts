/**
 * `doctor`: reports what is wrong with a server and a store, and what to do.
 */

import type {
  Diagnosis,
  DiagnosisLevel,
} from "../../operator/doctor/diagnosis.ts";
import { addressReport, doctor } from "../../operator/doctor/doctor.ts";
import type { DoctorReport } from "../../operator/doctor/options.ts";
import { isStreamStorageError } from "../../storage/errors.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import type { ExitCode } from "../exit_codes.ts";
import { plural } from "../format.ts";
import { wrapped } from "../screen.ts";
import { serverOf, type StoreOptions, withStore } from "../store_options.ts";
import { integer } from "../values.ts";

/** See the file's head. */
export function define(command: NewCommand): void {
  withStore(command)
    .option(
      "--max-connections <number>",
      "the sum of maxConnections of all stores on the server (default: 10 for " +
        "each store of the database)",
      integer("--max-connections", { min: 1, max: 1_000_000 }),
    )
    .addHelpText(
      "after",
      examples("doctor", "doctor --max-connections 60 --json"),
    )
    .action(
      run(async (cli, { maxConnections, ...options }) =>
        await show(cli, await examine(cli, options, maxConnections))
      ),
    );
}

async function examine(
  { signal }: Cli,
  options: StoreOptions,
  maxConnections: number | undefined,
): Promise<DoctorReport> {
  try {
    const { schema } = options;
    return await doctor({
      url: await serverOf(options),
      signal,
      ...(schema === undefined ? {} : { schema }),
      ...(maxConnections === undefined ? {} : { maxConnections }),
    });
  } catch (error) {
    // `serverOf` reads the address before the doctor does.
    const isBadUrl = isStreamStorageError(error, "BAD_CONFIG") &&
      error.details.reason === "bad_url";
    if (!isBadUrl) throw error;
    return addressReport(error);
  }
}

async function show(cli: Cli, report: DoctorReport): Promise<ExitCode> {
  const { diagnoses, failures, warnings } = report;
  if (cli.isJson) await cli.document(report);
  else {
    for (const each of diagnoses) await cli.print(...linesOf(cli, each));
    const note = noteOf(report);
    if (note !== undefined) await cli.print("", note);
    const unknown = diagnoses.filter(({ level }) => level === "unknown").length;
    await cli.print(
      "",
      `${plural(failures, "failure")}, ${plural(warnings, "warning")}` +
        (unknown === 0 ? "" : `, ${unknown} not visible`),
    );
  }
  return failures + warnings > 0 ? 1 : 0;
}

/** Says what was not examined. */
function noteOf(
  { schema, stores, diagnoses }: DoctorReport,
): string | undefined {
  const isReached = diagnoses.some(({ check }) => check === "server");
  if (schema !== null || !isReached) return undefined;
  return stores.length === 0
    ? "No schema of this database looks like a store."
    : `There are ${stores.length} stores: choose one with --schema to see it, too.`;
}

const marks: Readonly<Record<DiagnosisLevel, string>> = {
  ok: "ok",
  warn: "WARN",
  fail: "FAIL",
  unknown: "?",
};

/** A result's lines: level, check and text, and below them what to do. */
function linesOf(
  { colour, width }: Cli,
  { check, level, found, advice }: Diagnosis,
): string[] {
  const indent = " ".repeat(24);
  const paint = {
    ok: colour.green,
    warn: colour.yellow,
    fail: colour.red,
    unknown: colour.dim,
  }[level];
  const body = wrapped(found, width, indent).slice(indent.length);
  const mark = paint(marks[level].padEnd(5));
  const lines = [`${mark} ${check.padEnd(18)}${body}`];
  if (advice !== undefined) {
    lines.push(colour.bold(wrapped(`→ ${advice}`, width, indent)));
  }
  return lines;
}
