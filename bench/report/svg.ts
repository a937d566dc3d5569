/** What the pictures are written with. */

/** A text of SVG, with attributes such as `fill="#555"`. */
export function text(
  x: number,
  y: number,
  content: string,
  style: string,
): string {
  return `<text x="${x}" y="${y}" ${style}>${escaped(content)}</text>`;
}

/** Text that stands between tags as it is. */
export function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** A tenth of a pixel is exact enough, and keeps the files small. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}
