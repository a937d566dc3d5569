/**
 * The gate: runs every check and all test runs, even after a failure, and
 * prints `N passed, N failed` as its last line. A check counts as one. A test
 * run counts the cases of its report, and one more failure if it failed without
 * a failed case. The gate exits with 1 if anything failed.
 *
 * The test runs are divided into jobs (test_jobs.ts). Some jobs run at the same
 * time, beside the checks. The run on Debian's server, an older version than the
 * embedded one, is left out if the package is not installed.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { serverPrograms } from "../tests/support/servers/debian.ts";
import { countTests, type TestCounts } from "./junit.ts";
import { whyNoCitus } from "../tests/support/cluster/citus_cluster.ts";
import { memoryDirectory } from "../tests/support/memory_directory.ts";
import { leftToDeno, testFiles, type TestJob, testJobs } from "./test_jobs.ts";

/** A check that takes longer fails. */
const checkDeadlineMs = 5 * 60_000;
const testsDeadlineMs = 30 * 60_000;

const checks = [
  "fmt",
  "lint",
  "check",
  "arrows",
  "words",
  "doc",
  "publish-dry",
];

/** Jobs mostly wait, so there are more of them than processors. */
const jobsAtOnce = 2 * availableParallelism();

const hasDebian = () => serverPrograms() !== undefined;

type Results = [name: string, counts: TestCounts][];

/**
 * Makes the directory of a run. Servers keep their files below it, as other
 * users than root, and the path of a server's socket may have 107 bytes.
 */
function makeDirectory(): string {
  const dir = mkdtempSync(join(memoryDirectory() ?? tmpdir(), "gate-"));
  chmodSync(dir, 0o1777);
  return dir;
}

/** Runs a Deno task, and prints its output when it has ended. */
async function runTask(
  { task, part, args }: { task: string; part: string; args: string[] },
  dir: string,
  deadlineMs: number,
): Promise<number | null> {
  const name = `${task} ${part}`.trim();
  const file = `${join(dir, name.replaceAll(/\W/g, "-"))}.txt`;
  const output = openSync(file, "w");
  const began = performance.now();
  const child = spawn("deno", ["task", "--quiet", task, ...args], {
    stdio: ["ignore", output, output],
    env: { ...process.env, TMPDIR: dir },
    timeout: deadlineMs,
  });
  const [status] = await once(child, "exit");
  closeSync(output);
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(`\n== deno task ${name} (${seconds} s)`);
  process.stdout.write(readFileSync(file));
  return status;
}

/** Runs the checks, one after another. */
async function runChecks(dir: string): Promise<Results> {
  const results: Results = [];
  for (const task of checks) {
    const status = await runTask(
      { task, part: "", args: [] },
      dir,
      checkDeadlineMs,
    );
    const isOk = status === 0;
    const counts = { passed: Number(isOk), failed: Number(!isOk), skipped: 0 };
    results.push([task, counts]);
  }
  return results;
}

/** Runs a part of the tests, and counts its cases. */
async function runJob(job: TestJob, dir: string): Promise<TestCounts> {
  const { task, part, files } = job;
  const report = join(dir, `${task}-${part}.xml`.replaceAll(/[:/]/g, "-"));
  const args = [...job.report(report), ...files];
  const status = await runTask({ task, part, args }, dir, testsDeadlineMs);
  const counts = existsSync(report)
    ? countTests(readFileSync(report, "utf8"))
    : { passed: 0, failed: 0, skipped: 0 };
  const isEmpty = counts.passed + counts.failed === 0;
  if (counts.failed === 0 && (status !== 0 || isEmpty)) counts.failed = 1;
  return counts;
}

/**
 * Runs all jobs, some at the same time, and adds up the results of each task.
 */
async function runTests(dir: string): Promise<Results> {
  const results = new Map<string, TestCounts>();
  const waiting = testJobs(testFiles(), { hasDebian: hasDebian() });
  const work = async () => {
    for (let job = waiting.shift(); job; job = waiting.shift()) {
      const { passed, failed, skipped } = await runJob(job, dir);
      const sum = results.get(job.task);
      results.set(job.task, {
        passed: (sum?.passed ?? 0) + passed,
        failed: (sum?.failed ?? 0) + failed,
        skipped: (sum?.skipped ?? 0) + skipped,
      });
    }
  };
  await Promise.all(Array.from({ length: jobsAtOnce }, work));
  return [...results];
}

async function main(): Promise<number> {
  const dir = makeDirectory();
  let results: Results;
  try {
    if (!hasDebian()) {
      console.log("Debian's server is not installed: test:debian is NOT RUN");
    }
    console.log(`Left to Deno alone: ${leftToDeno.join(", ")}`);
    console.log("\nRunning checks and tests, for minutes …");
    const parts = await Promise.all([runChecks(dir), runTests(dir)]);
    results = parts.flat();
  } finally {
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
  console.log();
  const total = { passed: 0, failed: 0 };
  for (const [name, { passed, failed, skipped }] of results) {
    total.passed += passed;
    total.failed += failed;
    const note = skipped > 0 ? `, ${skipped} skipped` : "";
    console.log(`${name}: ${passed} passed, ${failed} failed${note}`);
  }
  const whyNot = whyNoCitus();
  if (whyNot) console.log(`Tests of a Citus cluster are NOT RUN: ${whyNot}`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 ? 0 : 1;
}

process.exitCode = await main();
