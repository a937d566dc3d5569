/**
 * Makes foreign text safe for a message, a log or a span: what a caller passed,
 * or what a server, a bucket or another process sent. Unchanged, a line break
 * in it could forge a line of the log, a control sequence could reach the
 * terminal that shows it, and the text could be a megabyte long.
 */

/** Invisible characters, and all white space except the plain space. */
const unprintable = /[\p{C}\p{Z}]/gu;

/** Longer than any name in PostgreSQL. */
const defaultMax = 64;

/**
 * The text in double quotes, for a value inside a sentence: at most `max`
 * characters and, if it was shortened, its length.
 */
export function quoted(text: string, max: number = defaultMax): string {
  const { shown, length } = cut(text, max);
  const inner = escaped(shown.replaceAll(/["\\]/g, "\\$&"));
  return length === undefined
    ? `"${inner}"`
    : `"${inner}…" of ${length} characters`;
}

/** The text without quotes, for a foreign message: shortened and escaped. */
export function printable(text: string, max: number): string {
  const { shown, length } = cut(text, max);
  return escaped(shown) + (length === undefined ? "" : "…");
}

/** The message of an error from the system, a library or a server. */
export function messageOf(error: unknown): string {
  return printable(error instanceof Error ? error.message : String(error), 600);
}

/** Never cuts a surrogate pair; `length` is set only if it cuts. */
function cut(text: string, max: number): { shown: string; length?: number } {
  if (text.length <= max) return { shown: text };
  const isPair = (text.codePointAt(max - 1) ?? 0) > 0xffff;
  const shown = text.slice(0, isPair ? max - 1 : max);
  return { shown, length: text.length };
}

function escaped(text: string): string {
  return text.replace(
    unprintable,
    (character) =>
      character === " "
        ? character
        : `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}
