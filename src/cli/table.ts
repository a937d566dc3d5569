/** Tables that fit on the screen. */

import { displayWidth } from "./screen.ts";

/** A column of a table. */
export interface Column {
  head: string;
  /** Default `left`. */
  align?: "left" | "right";
  /**
   * Whether the column's texts are cut if the table is too wide. At most one
   * column should shrink.
   */
  shrinks?: boolean;
}

/** A table; every cell is one line of text. */
export interface Table {
  columns: readonly Column[];
  rows: readonly (readonly string[])[];
  /** A last row below a rule. */
  total?: readonly string[];
}

const between = "  ";
/** The least width of a column that shrinks. */
const leastWidth = 8;

/**
 * The lines of a table, none wider than `width` if a column can shrink enough.
 */
export function formatTable(
  { columns, rows, total }: Table,
  width: number,
): string[] {
  const heads = columns.map(({ head }) => head);
  const all = [heads, ...rows, ...(total === undefined ? [] : [total])];
  const widths = columns.map((_, i) =>
    Math.max(...all.map((row) => displayWidth(row[i] ?? "")))
  );
  shrink(columns, widths, width);
  const line = (row: readonly string[]) =>
    columns.map(({ align }, i) =>
      padded(cut(row[i] ?? "", widths[i]!), widths[i]!, align)
    ).join(between).trimEnd();
  const rule = widths.map((each) => "─".repeat(each)).join(between);
  const last = total === undefined ? [] : [rule, line(total)];
  return [line(heads), rule, ...rows.map(line), ...last];
}

function shrink(
  columns: readonly Column[],
  widths: number[],
  width: number,
): void {
  const sum = widths.reduce((a, b) => a + b, 0);
  let excess = sum + between.length * (widths.length - 1) - width;
  for (const [i, { shrinks }] of columns.entries()) {
    if (!shrinks || excess <= 0) continue;
    const kept = Math.max(
      Math.min(leastWidth, widths[i]!),
      widths[i]! - excess,
    );
    excess -= widths[i]! - kept;
    widths[i] = kept;
  }
}

function padded(
  text: string,
  width: number,
  align: Column["align"] = "left",
): string {
  const space = " ".repeat(Math.max(0, width - displayWidth(text)));
  return align === "left" ? text + space : space + text;
}

/** Cuts the middle of a text, because both ends of an id are informative. */
function cut(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  const plain = [...text];
  const tail = /^[0-9a-f]{16,}$/.test(text) ? Math.floor((width - 1) / 2) : 0;
  const head = plain.slice(0, width - 1 - tail).join("");
  return `${head}…${tail === 0 ? "" : plain.slice(-tail).join("")}`;
}
