/**
 * Text that is not ours, on its way into a message, a log or a span: what a
 * caller passed, or what a server, a bucket or another process has said. As it
 * is, a line break forges a line of the log, a control sequence reaches the
 * terminal that shows it, and there may be a megabyte of it.
 */

/** What has no picture of its own, and every white space but the plain one. */
const unprintable = /[\p{C}\p{Z}]/gu;

/** Longer than any name in PostgreSQL. */
const defaultMax = 64;

/**
 * The text in double quotes, for a value inside a sentence: at most `max`
 * characters of it, and then how many there are.
 */
export function quoted(text: string, max: number = defaultMax): string {
  const { shown, length } = cut(text, max);
  const inner = escaped(shown.replaceAll(/["\\]/g, "\\$&"));
  return length === undefined
    ? `"${inner}"`
    : `"${inner}…" of ${length} characters`;
}

/** The text itself, for a sentence of somebody else's: shortened and escaped. */
export function printable(text: string, max: number): string {
  const { shown, length } = cut(text, max);
  return escaped(shown) + (length === undefined ? "" : "…");
}

/** What an error of the system, of a library or of a server says. */
export function messageOf(error: unknown): string {
  return printable(error instanceof Error ? error.message : String(error), 600);
}

/** `length` only if something was cut off. Never half of a pair. */
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
