/**
 * The gate's test runs, each divided into jobs of some files. A job is a process
 * with a server of its own, so that no file meets another's sessions or settings.
 */
import { readdirSync } from "node:fs";
import { sep } from "node:path";

/** All test files, from the project's root. */
export const testFiles = () =>
  readdirSync("tests", { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith("_test.ts"))
    .map((name) => `tests/${name.split(sep).join("/")}`)
    .sort();

/** A part of a test run. */
export interface TestJob {
  /** The task, which takes files and flags. */
  task: string;
  /** Which part of how many, "1/4"; empty for a task that names its files. */
  part: string;
  files: string[];
  /** The flags that make it write a report. */
  report: (file: string) => string[];
}

/** How the gate runs the tests under one runtime. */
interface TestRun {
  task: string;
  jobs: number;
  report: TestJob["report"];
}

/**
 * Left to Deno here: what they ask is decided by the server or by logic alone, and
 * they take minutes. `deno task test:bun` runs them under Bun as well.
 */
export const leftToDeno = [
  "ownership/fence_model",
  "write_path/late_copy_pgbouncer",
  "media/late",
  "migrations/interruption",
  "ownership/model",
  "postgres/quotas_property",
  "database/search_path",
  "workers/trimming_property",
  "write_path/write_queue_model",
].map((name) => `tests/${name}_test.ts`);

const denoReport = (file: string) => [`--junit-path=${file}`];

const deno: TestRun = { task: "test", jobs: 5, report: denoReport };

/** More than Deno's, so that the last jobs are short: a processor waits for those. */
const bun: TestRun = {
  task: "test:bun",
  jobs: 8,
  report: (file) => ["--reporter=junit", `--reporter-outfile=${file}`],
};

const debian: TestJob = {
  task: "test:debian",
  part: "",
  files: [],
  report: denoReport,
};

/** All jobs in the order in which they begin: the long ones first. */
export function testJobs(
  files: readonly string[],
  { hasDebian }: { hasDebian: boolean },
): TestJob[] {
  const inBun = files.filter((file) => !leftToDeno.includes(file));
  return [
    ...hasDebian ? [debian] : [],
    ...divide(files, deno),
    ...divide(inBun, bun),
  ];
}

/** Neighbours by name ask for the same kind of work: each goes to another job. */
function divide(
  files: readonly string[],
  { task, jobs, report }: TestRun,
): TestJob[] {
  const sorted = files.toSorted();
  return Array.from({ length: jobs }, (_, nth) => ({
    task,
    part: `${nth + 1}/${jobs}`,
    files: sorted.filter((_, index) => index % jobs === nth),
    report,
  }));
}
