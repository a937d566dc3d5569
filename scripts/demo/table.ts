/**
 * Formats a table: the first column is aligned left, the others right. `last`
 * is the row below a rule.
 */
export function formatTable(
  heads: string[],
  rows: string[][],
  last?: string[],
): string[] {
  const all = last === undefined ? [heads, ...rows] : [heads, ...rows, last];
  const widths = heads.map((_, column) =>
    Math.max(...all.map((row) => row[column]?.length ?? 0))
  );
  const rule = widths.map((width) => "─".repeat(width)).join("  ");
  const line = (row: string[]) =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ").trimEnd();
  const footer = last === undefined ? [] : [rule, line(last)];
  return [line(heads), rule, ...rows.map(line), ...footer];
}
