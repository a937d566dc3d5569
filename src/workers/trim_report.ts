import type {
  FailedStream,
  TrimmedStream,
  TrimReport,
} from "../postgres/maintenance.ts";
import type { Trimmed } from "../postgres/operations/trim_by_rules.ts";
import type { StreamId } from "../storage/stream_id.ts";

const maxListed = 1000;

/** An empty report. */
export function newTrimReport(
  dryRun: boolean,
  failures: FailedStream[],
): TrimReport {
  return {
    dryRun,
    streams: 0,
    trimmed: 0,
    miniblocks: 0,
    snapshots: 0,
    bytes: 0n,
    trimmedStreams: [],
    refusals: [],
    failures,
  };
}

/** Adds what was removed from a stream. */
export function noteTrimmed(
  report: TrimReport,
  streamId: StreamId,
  { cut, miniblocks, snapshots, cleared, bytes }: Trimmed,
): void {
  if (miniblocks + snapshots === 0) return;
  report.trimmed++;
  report.miniblocks += miniblocks;
  report.snapshots += snapshots;
  report.bytes += bytes;
  if (report.trimmedStreams.length >= maxListed) return;
  const stream: TrimmedStream = {
    streamId,
    miniblocks,
    snapshots,
    nullifySnapshotMbs: cleared,
    bytes,
  };
  if (cut !== undefined) stream.trimToMbExclusive = cut;
  report.trimmedStreams.push(stream);
}

/** Adds a stream that can't be trimmed. */
export function noteRefused(
  report: TrimReport,
  streamId: StreamId,
  reason: string,
): void {
  if (report.refusals.length >= maxListed) return;
  report.refusals.push({ streamId, reason });
}

/** Whether the reason is a fault, not just another kind of stream. */
export function isFault(reason: string): boolean {
  return reason === "unexpected_gap" || reason === "latest_snapshot_missing";
}
