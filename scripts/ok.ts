/**
 * The gate: runs every check and both test runs, whatever fails, and prints
 * `N passed, N failed` as its last line. A check counts as one; a test run
 * counts its cases from the report that it wrote, and one failure more if it
 * failed without a failed case. Exits with 1 if anything failed.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { countTests, type TestCounts } from "./junit.ts";

/** A task that hangs fails. */
const taskDeadlineMs = 10 * 60_000;

const checks = ["fmt", "lint", "check", "arrows", "doc", "publish-dry"];

/** The tasks that run tests, with the flags that make them write a report. */
const testRuns: Record<string, (report: string) => string[]> = {
  "test": (report) => [`--junit-path=${report}`],
  "test:bun": (report) => [
    "--reporter=junit",
    `--reporter-outfile=${report}`,
  ],
};

function runTask(name: string, args: string[] = []): boolean {
  console.log(`\n== deno task ${name}`);
  const { status } = spawnSync("deno", ["task", "--quiet", name, ...args], {
    stdio: ["ignore", "inherit", "inherit"],
    timeout: taskDeadlineMs,
  });
  return status === 0;
}

function runCheck(name: string): TestCounts {
  const isOk = runTask(name);
  return { passed: Number(isOk), failed: Number(!isOk), skipped: 0 };
}

function runTests(name: string, reportDir: string): TestCounts {
  const report = join(reportDir, `${name.replace(":", "-")}.xml`);
  const isOk = runTask(name, testRuns[name]?.(report));
  const counts = existsSync(report)
    ? countTests(readFileSync(report, "utf8"))
    : { passed: 0, failed: 0, skipped: 0 };
  const isEmpty = counts.passed + counts.failed === 0;
  if (counts.failed === 0 && (!isOk || isEmpty)) counts.failed = 1;
  return counts;
}

function main(): number {
  const reportDir = mkdtempSync(join(tmpdir(), "stream-storage-gate-"));
  const results: [name: string, counts: TestCounts][] = [];
  try {
    for (const name of checks) results.push([name, runCheck(name)]);
    for (const name of Object.keys(testRuns)) {
      results.push([name, runTests(name, reportDir)]);
    }
  } finally {
    rmSync(reportDir, { recursive: true });
  }
  console.log();
  const total = { passed: 0, failed: 0 };
  for (const [name, { passed, failed, skipped }] of results) {
    total.passed += passed;
    total.failed += failed;
    const note = skipped > 0 ? `, ${skipped} skipped` : "";
    console.log(`${name}: ${passed} passed, ${failed} failed${note}`);
  }
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 ? 0 : 1;
}

process.exitCode = main();
