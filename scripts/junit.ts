/** Results of tests, counted by case. */
export interface TestCounts {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Counts the `it` cases in a JUnit report. Deno reports each `describe` as a
 * case too, named like the beginning of its cases; it counts only when it
 * failed by itself, in a hook, and not through one of its cases.
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

/** "a > b > c" gives "a" and "a > b", as XML writes them. */
function prefixes(name: string): string[] {
  const parts = name.split(" &gt; ");
  return parts.slice(1).map((_, index) =>
    parts.slice(0, index + 1).join(" &gt; ")
  );
}
