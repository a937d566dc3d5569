/** The gate's jobs run every test file once per runtime, with named exceptions. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { leftToDeno, testFiles, testJobs } from "../../scripts/test_jobs.ts";

const files = testFiles();

describe("The gate's jobs", () => {
  const jobs = testJobs(files, { hasDebian: true });
  const filesOf = (task: string) =>
    jobs.filter((job) => job.task === task).flatMap(({ files }) => files)
      .sort();

  it("give Deno every file once", () => {
    assert.deepEqual(filesOf("test"), files);
  });

  it("give Bun every file once, except those left to Deno", () => {
    for (const file of leftToDeno) assert.ok(files.includes(file), file);
    assert.deepEqual(
      filesOf("test:bun"),
      files.filter((file) => !leftToDeno.includes(file)),
    );
  });

  it("include the suites for Debian's server if there is one", () => {
    const without = testJobs(files, { hasDebian: false });
    assert.deepEqual(
      jobs.filter((job) => !without.some(({ task }) => task === job.task))
        .map(({ task }) => task),
      ["test:debian"],
    );
  });
});
