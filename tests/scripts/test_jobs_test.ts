/** The gate leaves no test file out that it does not name. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { leftToDeno, testFiles, testJobs } from "../../scripts/test_jobs.ts";

const files = testFiles();

describe("testJobs", () => {
  const jobs = testJobs(files, { hasDebian: true });
  const filesOf = (task: string) =>
    jobs.filter((job) => job.task === task).flatMap(({ files }) => files)
      .sort();

  it("gives Deno every file once", () => {
    assert.deepEqual(filesOf("test"), files);
  });

  it("gives Bun every file once but those left to Deno", () => {
    for (const file of leftToDeno) assert.ok(files.includes(file), file);
    assert.deepEqual(
      filesOf("test:bun"),
      files.filter((file) => !leftToDeno.includes(file)),
    );
  });

  it("runs what Debian's server is asked where there is one", () => {
    const without = testJobs(files, { hasDebian: false });
    assert.deepEqual(
      jobs.filter((job) => !without.some(({ task }) => task === job.task))
        .map(({ task }) => task),
      ["test:debian"],
    );
  });
});
