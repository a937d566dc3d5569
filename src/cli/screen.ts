/** The properties of an output: its width, and whether it shows colours. */

import process from "node:process";

/** A stream of this process that may be a terminal. */
export interface Output {
  isTTY?: boolean | undefined;
  columns?: number | undefined;
  write(text: string): unknown;
}

/** The width if the output does not report one. */
const defaultWidth = 80;

/** The least width; a narrower terminal wraps the lines itself. */
const leastWidth = 40;

/** The most places of a line. */
export function widthOf({ isTTY, columns }: Output): number {
  if (!isTTY) return defaultWidth;
  return Math.max(leastWidth, columns || defaultWidth);
}

/**
 * Whether the output understands colours and moves of the cursor, and the user
 * wants them.
 */
function hasColours({ isTTY }: Output): boolean {
  const { NO_COLOR, TERM } = process.env;
  return Boolean(isTTY) && !NO_COLOR && TERM !== "dumb";
}

const codes = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
} as const;

/** Colours a text, or leaves it as it is. */
export type Palette = Readonly<
  Record<keyof typeof codes, (text: string) => string>
>;

/** The colours of an output; none if it is not a terminal. */
export function paletteOf(output: Output): Palette {
  const isOn = hasColours(output);
  return Object.fromEntries(
    Object.entries(codes).map(([name, [on, off]]) => [
      name,
      (text: string) => isOn ? `\x1b[${on}m${text}\x1b[${off}m` : text,
    ]),
  ) as unknown as Palette;
}

// deno-lint-ignore no-control-regex
const colourCode = /\x1b\[\d+m/g;

/** The places that a text takes; colours take none. */
export function displayWidth(text: string): number {
  return [...text.replace(colourCode, "")].length;
}

/** Breaks a text between words so that no line is wider than `width`. */
export function wrapped(text: string, width: number, indent = ""): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && displayWidth(longer) > width - indent.length) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line].map((each) => indent + each).join("\n");
}
