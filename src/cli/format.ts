/** Formats numbers, sizes and times for people. */

const units = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes in steps of 1000, three digits at least: `812 B`, `1.23 MB`. */
export function formatBytes(bytes: number | bigint): string {
  let value = Number(bytes);
  let unit = 0;
  // A value that would be rounded to 1000 belongs to the next unit.
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  if (unit === 0) return `${Math.round(value)} B`;
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** A count with a space between thousands. */
export function formatCount(count: number | bigint): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, " ");
}

/** A part of a whole as `12 %`; `-` if the whole is 0. */
export function formatShare(part: number, whole: number): string {
  if (whole === 0) return "-";
  const share = 100 * part / whole;
  return share > 0 && share < 1 ? "<1 %" : `${Math.round(share)} %`;
}

/** A length of time in its two largest units: `3 d 4 h`, `12 s`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first === -1) return "0 s";
  return parts.slice(first, first + 2).filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`).join(" ");
}

/** The JSON of a result. A number beyond 2^53 becomes a string. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_, each) =>
      typeof each !== "bigint"
        ? each
        : Number.isSafeInteger(Number(each))
        ? Number(each)
        : String(each),
    indent,
  );
}

/** `1 stream`, `2 streams`. */
export function plural(
  count: number | bigint,
  one: string,
  many = `${one}s`,
): string {
  return `${formatCount(count)} ${Number(count) === 1 ? one : many}`;
}
