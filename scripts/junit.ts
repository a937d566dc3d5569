/** How many test cases passed, failed and were skipped. */
export interface TestCounts {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Counts the `it` cases in a JUnit report. Deno also reports each `describe` as
 * a case, whose name is the beginning of its cases' names. A `describe` counts
 * only if one of its hooks failed, not if one of its cases did.
 */
export function countTests(report: string): TestCounts {
  const cases = [...report.matchAll(
    /<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g,
  )].map(([, attributes = "", body = ""]) => ({
    name: /\bname="([^"]*)"/.exec(attributes)?.[1] ?? "",
    body,
  }));
  const groups = new Set(cases.flatMap(({ name }) => prefixes(name)));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, body } of cases) {
    const isGroup = groups.has(name);
    if (/<(failure|error)\b/.test(body)) {
      const isThroughCases = /message="\d+ test steps? failed"/.test(body);
      if (!isGroup || !isThroughCases) counts.failed++;
    } else if (!isGroup) {
      if (body.includes("<skipped")) counts.skipped++;
      else counts.passed++;
    }
  }
  return counts;
}

/** Returns "a" and "a > b" for "a > b > c", escaped as in XML. */
function prefixes(name: string): string[] {
  const parts = name.split(" &gt; ");
  return parts.slice(1).map((_, index) =>
    parts.slice(0, index + 1).join(" &gt; ")
  );
}
