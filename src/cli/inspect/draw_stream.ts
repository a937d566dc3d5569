/** Draws a stream: its blocks as a bar with gaps, its snapshots below. */

import type { StreamInspection } from "../../operator/inspect/types.ts";
import { bytesOf } from "../../operator/streams/sizes.ts";
import type { Cli } from "../cli.ts";
import { formatBytes, formatCount, plural } from "../format.ts";
import { wrapped } from "../screen.ts";

const label = 13;

/** The properties of the output that a drawing needs. */
export type Canvas = Pick<Cli, "width" | "colour">;

/** The lines of a drawing. */
export function drawStream(stream: StreamInspection, canvas: Canvas): string[] {
  const { streamId, type, isEphemeral, location, partition } = stream;
  const kind = [type, isEphemeral ? "upload" : "", `partition ${partition}`]
    .filter(Boolean).join(", ");
  const place = location === "database"
    ? "in the database"
    : `in object storage (${location})`;
  return [
    ...lines("Stream", streamId, canvas),
    ...lines("", `${kind}, ${place}`, canvas),
    ...blockLines(stream, canvas),
    ...snapshotLines(stream, canvas),
    ...lines("Minipool", minipoolText(stream), canvas),
    ...candidateLines(stream, canvas),
    ...lines("Bytes", bytesText(stream), canvas),
    ...findingLines(stream, canvas),
  ];
}

function lines(
  name: string,
  text: string,
  { width, colour }: Canvas,
): string[] {
  const [first = "", ...rest] = wrapped(text, width - label).split("\n");
  return [
    colour.bold(name.padEnd(label)) + first,
    ...rest.map((line) => " ".repeat(label) + line),
  ];
}

function blockLines(stream: StreamInspection, canvas: Canvas): string[] {
  const { runs, blocks, outsideBlocks } = stream;
  const [firstRun] = runs;
  if (firstRun === undefined) return lines("Blocks", "none", canvas);
  const gaps = runs.length - 1;
  const count = blocks + outsideBlocks;
  const span = `${firstRun.first} to ${runs.at(-1)!.last}`;
  const missing = gaps === 0 ? "no gap" : plural(gaps, "gap");
  return [
    ...lines("Blocks", `${formatCount(count)}, ${span}, ${missing}`, canvas),
    " ".repeat(label) + drawRuns(stream, barWidth(stream, canvas)),
  ];
}

/** The width of the bar: at most one place a block. */
function barWidth({ runs }: StreamInspection, { width }: Canvas): number {
  const span = runs.at(-1)!.last - runs[0]!.first + 1n;
  const most = width - label;
  return span < BigInt(most) ? Number(span) : most;
}

/** The place of the bar that stands for a block. */
function placeOf(
  { runs }: StreamInspection,
  number: bigint,
  width: number,
): number {
  const { first } = runs[0]!;
  const span = runs.at(-1)!.last - first + 1n;
  return Number((number - first) * BigInt(width) / span);
}

/**
 * Draws the bar: full where all blocks are stored, empty where none is, shaded
 * between.
 */
function drawRuns(stream: StreamInspection, width: number): string {
  const hasBlocks = new Array<boolean>(width).fill(false);
  const lacksBlocks = new Array<boolean>(width).fill(false);
  let before: bigint | undefined;
  const mark = (places: boolean[], from: bigint, to: bigint) =>
    places.fill(
      true,
      placeOf(stream, from, width),
      placeOf(stream, to, width) + 1,
    );
  for (const { first, last } of stream.runs) {
    mark(hasBlocks, first, last);
    if (before !== undefined) mark(lacksBlocks, before + 1n, first - 1n);
    before = last;
  }
  return hasBlocks.map((has, i) => !has ? "░" : lacksBlocks[i] ? "▒" : "█")
    .join("");
}

function snapshotLines(stream: StreamInspection, canvas: Canvas): string[] {
  const { snapshots, snapshotPlaces, runs, latestSnapshot } = stream;
  const inside = snapshotPlaces.filter(({ kind }) => kind === "inside");
  const parts = [
    `${formatCount(snapshots)} beside blocks`,
    ...(inside.length > 0 ? [`${inside.length} inside of blocks`] : []),
    `the latest is block ${latestSnapshot}`,
  ];
  const marks = runs.length === 0
    ? []
    : [" ".repeat(label) + drawMarks(stream, barWidth(stream, canvas))];
  return [...marks, ...lines("Snapshots", parts.join(", "), canvas)];
}

/** `▲` a snapshot beside its block, `△` one inside, `◆` the latest. */
function drawMarks(stream: StreamInspection, width: number): string {
  const marks = new Array<string>(width).fill(" ");
  const set = (number: bigint, mark: string) => {
    const place = placeOf(stream, number, width);
    if (place >= 0 && place < width) marks[place] = mark;
  };
  for (const { number, kind } of stream.snapshotPlaces) {
    set(number, kind === "beside" ? "▲" : "△");
  }
  set(stream.latestSnapshot, "◆");
  return marks.join("").trimEnd();
}

function minipoolText({ minipool, events, minipoolBytes }: StreamInspection) {
  const { rows, generation, lastGeneration } = minipool;
  if (rows === 0n) return "none";
  const generations = generation === lastGeneration
    ? `generation ${generation}`
    : `generations ${generation} to ${lastGeneration}`;
  return `${generations}, ${plural(events, "event")}, ` +
    formatBytes(minipoolBytes);
}

function candidateLines(stream: StreamInspection, canvas: Canvas): string[] {
  const { candidates, candidatePlaces, candidateBytes } = stream;
  if (candidates === 0n) return lines("Candidates", "none", canvas);
  const shown = candidatePlaces.slice(0, 5).map(({ number, hash, bytes }) =>
    `block ${number}, ${hash.slice(0, 12)}…, ${formatBytes(bytes)}`
  );
  const more = Number(candidates) - shown.length;
  return [
    ...lines(
      "Candidates",
      `${formatCount(candidates)}, ${formatBytes(candidateBytes)}`,
      canvas,
    ),
    ...shown.map((line) => " ".repeat(label) + line),
    ...(more > 0 ? [`${" ".repeat(label)}and ${more} more`] : []),
  ];
}

function bytesText(stream: StreamInspection): string {
  const { blockBytes, snapshotBytes, oldBytes, outsideBytes } = stream;
  return [
    `${formatBytes(bytesOf(stream))} in the database`,
    `blocks ${formatBytes(blockBytes)}`,
    `snapshots ${formatBytes(snapshotBytes)}`,
    ...(oldBytes > 0n
      ? [`${formatBytes(oldBytes)} before the latest snapshot`]
      : []),
    ...(outsideBytes > 0n ? [`outside ${formatBytes(outsideBytes)}`] : []),
  ].join(", ");
}

function findingLines(stream: StreamInspection, canvas: Canvas): string[] {
  const { findings } = stream;
  const { colour } = canvas;
  if (findings.length === 0) {
    return lines("Findings", colour.green("none"), canvas);
  }
  const colours = {
    error: colour.red,
    warning: colour.yellow,
    note: colour.dim,
  };
  return findings.flatMap(({ severity, finding, what }, i) =>
    lines(
      i === 0 ? "Findings" : "",
      `${colours[severity](severity)} ${finding}: ${what}`,
      canvas,
    )
  );
}
