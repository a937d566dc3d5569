/** The gate counts tests in the JUnit reports of Deno and Bun, which differ. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { countTests } from "../../scripts/junit.ts";

describe("The gate's count of tests", () => {
  it("includes cases and failed hooks, but no groups, of Deno's report", () => {
    const report = `<testsuites name="deno test" tests="9" failures="5">
      <testcase name="a" classname="x_test.ts">
        <failure message="2 test steps failed">2 test steps failed.</failure>
      </testcase>
      <testcase name="hook" classname="x_test.ts">
        <failure message="Uncaught Error: after">Error: after</failure>
      </testcase>
      <testcase name="alone" classname="x_test.ts">
      </testcase>
      <testcase name="a &gt; b" classname="ext"></testcase>
      <testcase name="a &gt; b &gt; one" classname="ext"></testcase>
      <testcase name="a &gt; two" classname="ext">
        <failure message="Uncaught Error: &lt;testcase">no</failure>
      </testcase>
      <testcase name="a &gt; three" classname="ext"><skipped/></testcase>
      <testcase name="hook &gt; four" classname="ext"></testcase>
      </testsuites>`;
    assert.deepEqual(countTests(report), { passed: 3, failed: 2, skipped: 1 });
  });

  it("includes the cases of Bun's report", () => {
    const report = `<testsuites name="bun test" tests="3" failures="1">
      <testsuite name="x_test.ts"><testsuite name="a">
        <testcase name="one" classname="a" file="x_test.ts" />
        <testcase name="two" classname="a" file="x_test.ts">
          <failure type="Error" message="no">no</failure>
        </testcase>
        <testcase name="three" classname="a"><skipped /></testcase>
      </testsuite></testsuite></testsuites>`;
    assert.deepEqual(countTests(report), { passed: 1, failed: 1, skipped: 1 });
  });

  it("is 0 for an empty report", () => {
    assert.deepEqual(countTests(""), { passed: 0, failed: 0, skipped: 0 });
  });
});
