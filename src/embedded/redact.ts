/** Shorter parts reveal nothing, and hiding them would hide the message. */
const shortestPart = 4;

/**
 * Hides the values of settings in the server's output, because they may be
 * secrets. Whole values and the words in them each become "…".
 */
export function redact(text: string, settings: [string, string][]): string {
  const parts = settings.flatMap(([, value]) => [
    value,
    ...value.split(/[^\p{L}\p{N}_.-]+/u),
  ]);
  const hidden = [...new Set(parts)]
    .filter((part) => part.length >= shortestPart && !isHarmless(part))
    .sort((a, b) => b.length - a.length);
  for (const part of hidden) text = text.replaceAll(part, "…");
  for (const [, value] of settings) {
    if (value !== "") text = text.replaceAll(`"${value}"`, '"…"');
  }
  return text;
}

/** Counts, sizes and times, which the server converts to other units anyway. */
function isHarmless(part: string): boolean {
  return /^(\d[\d.]*\s?(B|[kMGT]B|us|ms|s|min|h|d)?|true|false)$/.test(part);
}
