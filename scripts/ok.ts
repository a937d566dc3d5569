/**
 * The gate: runs every check and all test runs, even after a failure, and
 * prints `N passed, N failed` as its last line. A check counts as one. A test
 * run counts the cases of its report, and one more failure if it failed without
 * a failed case. The gate exits with 1 if anything failed.
 *
 * The test runs are divided into jobs (test_jobs.ts), some of which run at the
 * same time. The run on Debian's server, which is older than the embedded one,
 * is left out if the package is not installed.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
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

function runCheck(name: string): TestCounts {
  console.log(`\n== deno task ${name}`);
  const { status } = spawnSync("deno", ["task", "--quiet", name], {
    stdio: ["ignore", "inherit", "inherit"],
    timeout: checkDeadlineMs,
  });
  const isOk = status === 0;
  return { passed: Number(isOk), failed: Number(!isOk), skipped: 0 };
}

/** Runs a part of the tests, and prints its output when it has ended. */
async function runJob(job: TestJob, dir: string): Promise<TestCounts> {
  const name = `${job.task} ${job.part}`.trim();
  const base = join(dir, name.replaceAll(/\W/g, "-"));
  const report = `${base}.xml`;
  const output = openSync(`${base}.txt`, "w");
  const began = performance.now();
  const task = spawn(
    "deno",
    ["task", "--quiet", job.task, ...job.report(report), ...job.files],
    { stdio: ["ignore", output, output], timeout: testsDeadlineMs },
  );
  const [status] = await once(task, "exit");
  closeSync(output);
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(`\n== deno task ${name} (${seconds} s)`);
  process.stdout.write(readFileSync(`${base}.txt`));
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
async function runTests(dir: string): Promise<Map<string, TestCounts>> {
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
  return results;
}

async function main(): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), "stream-storage-gate-"));
  const results: [name: string, counts: TestCounts][] = [];
  try {
    for (const name of checks) results.push([name, runCheck(name)]);
    if (!hasDebian()) {
      console.log("Debian's server is not installed: test:debian is NOT RUN");
    }
    console.log(`Left to Deno alone: ${leftToDeno.join(", ")}`);
    console.log("\nRunning the tests under Deno and Bun, for minutes …");
    results.push(...await runTests(dir));
  } finally {
    rmSync(dir, { recursive: true });
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
