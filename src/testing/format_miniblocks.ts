import type { MiniblockRange } from "../storage/model.ts";
import { type StreamId, streamType } from "../storage/stream_id.ts";
import type { StreamStorage } from "../storage/stream_storage.ts";

/** In a longer run, each character stands for several blocks. */
const MAX_WIDTH = 48;

/**
 * Draws what is stored of a stream, one line for each run of blocks without a
 * gap; `●` is a block with a snapshot, `━` one without:
 *
 * ```text
 * space 10ab… 0━━●━━━●━━━11 12 blocks, 2 snapshots, latest 8 │ minipool gen 12: 5 events
 * ```
 *
 * Errors: those of `debugReadStreamStatistics`.
 *
 * @example
 * ```ts
 * import { formatMiniblocks } from "@towns/stream-storage/testing";
 *
 * console.log(await formatMiniblocks(storage, streamId));
 * ```
 */
export async function formatMiniblocks(
  storage: StreamStorage,
  streamId: StreamId,
): Promise<string> {
  const statistics = await storage.debugReadStreamStatistics(streamId);
  const ephemeral = await storage.isStreamEphemeral(streamId);
  const { miniblockRanges: ranges, miniblockCandidates } = statistics;
  const last = ranges.at(-1)?.endInclusive;
  const blocks = sum(ranges.map(lengthOf));
  const snapshots = sum(ranges.map((r) => BigInt(r.snapshotSeqNums.length)));
  const facts = [
    count(blocks, "block"),
    count(snapshots, "snapshot"),
    `latest ${statistics.latestSnapshotMiniblockNum}`,
  ];
  if (miniblockCandidates.length > 0) {
    facts.push(count(BigInt(miniblockCandidates.length), "candidate"));
  }
  const events = count(BigInt(statistics.minipoolEvents), "event");
  const state = ephemeral
    ? "ephemeral"
    : `minipool gen ${(last ?? -1n) + 1n}: ${events}`;
  const name = `${streamType(streamId)} ${streamId.slice(0, 4)}…`;
  const lines = ranges.length === 0 ? ["(empty)"] : ranges.map(drawRange);
  const summary = `${facts.join(", ")} │ ${state}`;
  return lines.map((line, index) => {
    const head = index === 0 ? name : " ".repeat(name.length);
    const tail = index === lines.length - 1 ? ` ${summary}` : "";
    return `${head} ${line}${tail}`;
  }).join("\n");
}

function drawRange(range: MiniblockRange): string {
  const length = lengthOf(range);
  const width = length < MAX_WIDTH ? Number(length) : MAX_WIDTH;
  const cells = new Array<string>(width).fill("━");
  for (const number of range.snapshotSeqNums) {
    const offset = number - range.startInclusive;
    cells[Number(offset * BigInt(width) / length)] = "●";
  }
  return `${range.startInclusive}${cells.join("")}${range.endInclusive}`;
}

function lengthOf(range: MiniblockRange): bigint {
  return range.endInclusive - range.startInclusive + 1n;
}

function sum(values: bigint[]): bigint {
  return values.reduce((total, value) => total + value, 0n);
}

function count(value: bigint, noun: string): string {
  return `${value} ${noun}${value === 1n ? "" : "s"}`;
}
