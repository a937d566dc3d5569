/** Shows one look of `watch` as lines. */

import type {
  SessionCount,
  StoreMetrics,
  WatchSample,
} from "../operator/watch/types.ts";
import { printable, quoted } from "../storage/foreign_text.ts";
import { formatBytes, formatCount, formatDuration, plural } from "./format.ts";
import { displayWidth, type Palette } from "./screen.ts";
import { formatTable } from "./table.ts";

/** How a frame is drawn. */
export interface FrameStyle {
  schema: string;
  width: number;
  colour: Palette;
}

/** The lines of one look; none is wider than `width`. */
export function frameOf(sample: WatchSample, style: FrameStyle): string[] {
  const { colour, width } = style;
  const heads = (lines: string[]) =>
    lines.map((line, i) => i === 0 ? colour.bold(line) : line);
  return [
    ...factLines(sample, style),
    "",
    ...beside(
      heads(countLines("Sessions", sample.states, width)),
      heads(countLines("Busy ones wait for", sample.waits, width)),
      width,
    ),
    ...section(heads(partitionLines(sample, width))),
    ...section(heads(streamLines(sample, width))),
    ...section(heads(callLines(sample, width))),
  ];
}

function section(lines: string[]): string[] {
  return lines.length === 0 ? [] : ["", ...lines];
}

function factLines(
  sample: WatchSample,
  { schema, width, colour }: FrameStyle,
): string[] {
  const { serverVersion, isStandby, connections, maxConnections } = sample;
  const longest = sample.longestTransaction;
  const facts: [string, string][] = [
    [
      "Store",
      `${quoted(schema)}, PostgreSQL ${serverVersion}` +
      (isStandby ? ", standby" : ""),
    ],
    ["Owner", ownerText(sample)],
    [
      "Server",
      `${connections} of ${maxConnections} connections` +
      (longest === null
        ? ""
        : `, longest transaction ${formatDuration(longest)}`),
    ],
    ...rateFacts(sample),
    ...storeFacts(sample.store),
  ];
  return facts.map(([name, text]) => {
    const head = name.padEnd(10);
    return colour.bold(head) + fitted(text, width - head.length);
  });
}

function ownerText({ owner, isLocked }: WatchSample): string {
  const lock = isLocked === undefined
    ? ""
    : isLocked
    ? " (lock held)"
    : " (lock free)";
  if (owner === undefined) return `not visible to this role${lock}`;
  if (owner === null) return `none${lock}`;
  const place = owner.info === null ? "" : `, ${owner.info}`;
  const since = owner.since.replace(/\.\d+Z$/, "Z");
  return `${shortened(owner.name)}${lock}${place}, since ${since}`;
}

function shortened(name: string): string {
  return name.length > 16 ? `${name.slice(0, 8)}…` : name;
}

function rateFacts({ rates }: WatchSample): [string, string][] {
  if (rates === null) return [["A second", "after the next look"]];
  const { commits, rollbacks, rowsWritten, rowsRead, cacheHits } = rates;
  const share = cacheHits === null
    ? ""
    : `, ${Math.floor(cacheHits * 100)} % from memory`;
  return [
    [
      "A second",
      `${perSecond(commits)} commits, ${perSecond(rollbacks)} rollbacks`,
    ],
    [
      "",
      `${perSecond(rowsWritten)} rows written, ${
        perSecond(rowsRead)
      } read${share}`,
    ],
  ];
}

function storeFacts(store: WatchSample["store"]): [string, string][] {
  if (store === undefined) return [];
  if ("unreachable" in store) return [["Metrics", store.unreachable]];
  return [
    [
      "Queue",
      `${formatCount(store.queuedWrites)} writes, ${
        formatBytes(store.queuedBytes)
      }, ${plural(store.busySlots, "transaction")} in flight`,
    ],
    ["Pool", poolText(store)],
  ];
}

function poolText(
  { usedConnections, maxConnections, waiting, ownership }: StoreMetrics,
): string {
  const state = ownership === null ? "" : `; the store is ${ownership}`;
  return `${usedConnections} of ${maxConnections} connections used, ` +
    `${formatCount(waiting)} calls wait${state}`;
}

function perSecond(rate: number): string {
  return rate > 0 && rate < 10
    ? rate.toFixed(1)
    : formatCount(Math.round(rate));
}

/** The lines of a list of counts, for half of the width. */
function countLines(
  head: string,
  counts: readonly SessionCount[],
  width: number,
): string[] {
  const half = Math.floor(width / 2) - 1;
  return [
    head,
    ...counts.map(({ name, sessions }) =>
      fitted(`${String(sessions).padStart(5)}  ${name}`, half)
    ),
    ...counts.length === 0 ? ["    0"] : [],
  ];
}

/** Puts two lists side by side. */
function beside(left: string[], right: string[], width: number): string[] {
  const half = Math.floor(width / 2);
  return Array.from(
    { length: Math.max(left.length, right.length) },
    (_, i) => (padded(left[i] ?? "", half) + (right[i] ?? "")).trimEnd(),
  );
}

function padded(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - displayWidth(text)));
}

function fitted(text: string, width: number): string {
  const clean = printable(text, 1000);
  return clean.length <= width ? clean : `${clean.slice(0, width - 1)}…`;
}

function partitionLines({ partitions }: WatchSample, width: number): string[] {
  if (partitions.length === 0) return [];
  return formatTable({
    columns: [
      { head: "Partition" },
      { head: "Rows written/s", align: "right" },
      { head: "Rows read/s", align: "right" },
    ],
    rows: partitions.map(({ partition, rowsWritten, rowsRead }) => [
      partition,
      perSecond(rowsWritten),
      perSecond(rowsRead),
    ]),
  }, width);
}

function streamLines(
  { streams, partitions }: WatchSample,
  width: number,
): string[] {
  if (streams.length === 0) return [];
  return formatTable({
    columns: [
      { head: `Stream in ${partitions[0]!.partition}`, shrinks: true },
      { head: "Events/s", align: "right" },
      { head: "Blocks/s", align: "right" },
    ],
    rows: streams.map(({ streamId, events, blocks }) => [
      streamId,
      perSecond(events),
      perSecond(blocks),
    ]),
  }, width);
}

function callLines({ store }: WatchSample, width: number): string[] {
  if (store === undefined || "unreachable" in store) return [];
  if (store.calls.length === 0) return [];
  return formatTable({
    columns: [
      { head: "Call", shrinks: true },
      { head: "A second", align: "right" },
    ],
    rows: store.calls.map(({ operation, perSecond: rate }) => [
      operation,
      perSecond(rate),
    ]),
  }, width);
}
