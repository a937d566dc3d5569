/** The result of a run, and its text. */
import type { StreamType } from "../../mod.ts";
import { wrapped } from "../../src/cli/screen.ts";
import type { OperationTimes } from "./call_times.ts";
import { formatPictures, type StreamPicture } from "./picture.ts";
import { formatTable } from "./table.ts";
import type { Verified } from "./verifier.ts";

/** How much of all streams of a type was verified. */
export interface TypeTotals extends Verified {
  type: StreamType;
}

/** The report of a run; `--json` prints it as it is. */
export interface DemoReport {
  seed: string;
  server: { version: string; embedded: boolean };
  schema: { name: string; partitions: number; kept: boolean };
  /** How much the history wrote, including what it replaced later. */
  written: { streams: number; events: number; bytes: number };
  verified: Verified;
  /** SHA-256 of everything that was verified, in hex; equal for equal seeds. */
  digest: string;
  types: TypeTotals[];
  streams: StreamPicture[];
  /** The space that PostgreSQL needs for the streams. */
  diskBytes: { tables: number; indexes: number };
  /** Milliseconds of each phase; opening includes the start of the server. */
  timings: { openMs: number; writeMs: number; verifyMs: number };
  calls: OperationTimes[];
}

/**
 * Formats the report for readers. Only a long name makes a line wider than
 * `width`.
 */
export function formatReport(report: DemoReport, width: number): string {
  const { server, schema, seed, verified } = report;
  const kind = server.embedded ? ", embedded" : "";
  const text = (words: string) => wrapped(words, width);
  return [
    text(
      `Streams on PostgreSQL ${server.version}${kind}, schema ${
        JSON.stringify(schema.name)
      } with ${schema.partitions} partitions, seed ${JSON.stringify(seed)}`,
    ),
    "",
    "What is stored: ● block with a snapshot, ━ block without",
    "",
    ...formatPictures(report.streams, width),
    "",
    ...formatTotals(report),
    "",
    ...formatCalls(report.calls),
    "",
    ...formatSummary(report),
    "",
    text(
      `Verified: ${whole(verified.bytes)} bytes of ${
        whole(verified.streams)
      } streams are what was written, byte for byte`,
    ),
    text(`SHA-256 ${report.digest}, the same for every run with this seed`),
    ...(schema.kept ? [`Schema ${JSON.stringify(schema.name)} is kept`] : []),
    "",
  ].join("\n");
}

function formatTotals({ types, verified }: DemoReport): string[] {
  const row = (name: string, totals: Verified) => [
    name,
    whole(totals.streams),
    whole(totals.blocks),
    whole(totals.snapshots),
    whole(totals.minipoolEvents),
    whole(totals.candidates),
    megabytes(totals.bytes),
  ];
  return formatTable(
    ["type", "streams", "blocks", "snapshots", "events", "candidates", "MB"],
    types.map((totals) => row(totals.type, totals)),
    row("all", verified),
  );
}

function formatCalls(calls: readonly OperationTimes[]): string[] {
  return formatTable(
    ["operation", "calls", "median ms", "slowest ms"],
    calls.map(({ operation, calls, medianMs, slowestMs }) => [
      operation,
      whole(calls),
      medianMs.toFixed(2),
      slowestMs.toFixed(2),
    ]),
  );
}

function formatSummary(report: DemoReport): string[] {
  const { written, verified, timings, diskBytes } = report;
  const { tables, indexes } = diskBytes;
  return formatTable(["", "MB", "seconds", "MB/s"], [
    ["open, server included", "", seconds(timings.openMs), ""],
    throughput("write", written.bytes, timings.writeMs),
    throughput("read and compare", verified.bytesRead, timings.verifyMs),
    ["on disk: tables", megabytes(tables), "", ""],
    ["on disk: indexes", megabytes(indexes), "", ""],
  ]);
}

function throughput(name: string, bytes: number, ms: number): string[] {
  const perSecond = bytes / 1e6 / (ms / 1000);
  return [name, megabytes(bytes), seconds(ms), perSecond.toFixed(1)];
}

function whole(count: number): string {
  return count.toLocaleString("en-US");
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(2);
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}
