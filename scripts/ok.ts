/**
 * The gate: runs every check and both test runs, whatever fails, and prints
 * `N passed, N failed` as its last line. A check counts as one; a test run
 * counts its cases from the report that it wrote, and one failure more if it
 * failed without a failed case. Exits with 1 if anything failed.
 *
 * The test runs go at the same time: most of their time they wait. What they
 * print comes when each has ended. That on Debian's server, an older version
 * than the embedded one, is left out where the package is not installed.
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
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { serverPrograms } from "./debian.ts";
import { countTests, type TestCounts } from "./junit.ts";

/** A task that hangs fails. */
const checkDeadlineMs = 5 * 60_000;
const testsDeadlineMs = 30 * 60_000;

const checks = ["fmt", "lint", "check", "arrows", "doc", "publish-dry"];

/**
 * Left to Deno here: what they ask is decided by the server or by logic alone, and
 * they take minutes. `deno task test:bun` runs them under Bun as well.
 */
const leftToDeno = [
  "fence_model",
  "late_copy_pgbouncer",
  "media_late",
  "migrations_interruption",
  "ownership_model",
  "quotas_property",
  "search_path",
  "trimming_property",
  "write_queue_model",
];

const denoReport = (report: string) => [`--junit-path=${report}`];

/** The tasks that run tests, with the flags that make them write a report. */
const testRuns: Record<string, (report: string) => string[]> = {
  "test": denoReport,
  ...(serverPrograms() && { "test:debian": denoReport }),
  "test:bun": (report) => [
    "--reporter=junit",
    `--reporter-outfile=${report}`,
    ...leftToDeno.map((name) => `--path-ignore-patterns=tests/${name}_test.ts`),
  ],
};

function runCheck(name: string): TestCounts {
  console.log(`\n== deno task ${name}`);
  const { status } = spawnSync("deno", ["task", "--quiet", name], {
    stdio: ["ignore", "inherit", "inherit"],
    timeout: checkDeadlineMs,
  });
  const isOk = status === 0;
  return { passed: Number(isOk), failed: Number(!isOk), skipped: 0 };
}

async function runTests(name: string, dir: string): Promise<TestCounts> {
  const file = join(dir, name.replace(":", "-"));
  const report = `${file}.xml`;
  const output = openSync(`${file}.txt`, "w");
  const task = spawn(
    "deno",
    ["task", "--quiet", name, ...testRuns[name]!(report)],
    { stdio: ["ignore", output, output], timeout: testsDeadlineMs },
  );
  const [status] = await once(task, "exit");
  closeSync(output);
  console.log(`\n== deno task ${name}`);
  process.stdout.write(readFileSync(`${file}.txt`));
  const counts = existsSync(report)
    ? countTests(readFileSync(report, "utf8"))
    : { passed: 0, failed: 0, skipped: 0 };
  const isEmpty = counts.passed + counts.failed === 0;
  if (counts.failed === 0 && (status !== 0 || isEmpty)) counts.failed = 1;
  return counts;
}

async function main(): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), "stream-storage-gate-"));
  const results: [name: string, counts: TestCounts][] = [];
  try {
    for (const name of checks) results.push([name, runCheck(name)]);
    if (serverPrograms() === undefined) {
      console.log("No server package of Debian's: test:debian is NOT RUN");
    }
    console.log(`Left to Deno alone: ${leftToDeno.join(", ")}`);
    console.log("\nRunning the tests under Deno and Bun, for minutes …");
    const names = Object.keys(testRuns);
    const counts = await Promise.all(names.map((name) => runTests(name, dir)));
    for (const [i, name] of names.entries()) results.push([name, counts[i]!]);
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
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 ? 0 : 1;
}

process.exitCode = await main();
