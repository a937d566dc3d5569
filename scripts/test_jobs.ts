/**
 * Divides the gate's test runs into jobs of some files. Each job is a process
 * with its own server, so that sessions and settings of one file do not disturb
 * another.
 */
import { readdirSync } from "node:fs";
import { sep } from "node:path";

/** Finds all test files; the paths begin at the project's root. */
export const testFiles = () =>
  readdirSync("tests", { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith("_test.ts"))
    .map((name) => `tests/${name.split(sep).join("/")}`)
    .sort();

/** A part of a test run. */
export interface TestJob {
  /** The Deno task, which takes files and flags. */
  task: string;
  /**
   * Which part of how many, as "1/4"; empty for a task that names its own
   * files.
   */
  part: string;
  files: string[];
  /** Returns the flags that make the task write a report to the file. */
  report: (file: string) => string[];
}

/** How the gate runs the tests under one runtime. */
interface TestRun {
  task: string;
  jobs: number;
  report: TestJob["report"];
}

/**
 * Suites that the gate runs only under Deno, and what decides their results
 * instead of the runtime. They take minutes. `deno task test:bun` also runs
 * them under Bun.
 */
const decidedElsewhere: Record<string, string> = {
  "contract/random_sequences": "statements and the twin; Bun has the contract",
  "database/search_path": "the server, which resolves the names",
  "faults/failover_harness": "a program that Deno runs",
  "media/chaos": "the order of kills; Bun has faults/crash and media",
  "media/late": "the order of requests; Bun has the other suites of media",
  "migrations/interruption": "the server, which rolls back",
  "migrations/roles": "the server, which checks the rights",
  "ownership/fence_model": "a model",
  "ownership/model": "a model",
  "postgres/quotas_property": "sums in memory",
  "workers/trimming_property": "statements and the rules of trimming",
  "write_path/late_copy_pgbouncer": "the server; Bun has late_copy",
  "write_path/write_queue_model": "logic, over fake transactions",
};

/** The files of these suites. */
export const leftToDeno: string[] = Object.keys(decidedElsewhere)
  .map((name) => `tests/${name}_test.ts`);

const denoReport = (file: string) => [`--junit-path=${file}`];

const deno: TestRun = { task: "test", jobs: 7, report: denoReport };

/**
 * More jobs than Deno has, so that the last ones, which run alone, are short.
 */
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

/** Returns all jobs in the order in which they begin: the long ones first. */
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

/**
 * Deals the sorted files out, because neighbours in that order do similar work.
 */
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
