/** Checks that `trimStreams` removes exactly what the rules name. */
import type { StreamId, TrimReport } from "../../mod.ts";
import { expectedOutcome } from "../../tests/support/trimming_model.ts";
import type { Streams } from "./check.ts";
import { blocksOf, isWritten } from "./contents.ts";
import type { Ledger } from "./ledger.ts";
import { type cutting, latestOf, snapshotOf } from "./trimmed.ts";

/**
 * Compares the reports of a dry run, of the run and of a second run with what
 * the model of the rules expects. Returns how much was removed.
 */
export async function checkTrimming(
  scene: Streams,
  rules: typeof cutting,
): Promise<Ledger["trimmed"]> {
  const { storage: { maintenance }, broken } = scene;
  await maintenance.updateTrimming({ ...rules, activationFactor: 0 });
  const expected = (await Promise.all(
    scene.ids.filter(isWritten).map((id) => expectedOf(scene, id, rules)),
  )).filter((one) => one !== undefined);
  const texts = [expected, expected, []].map((streams) =>
    JSON.stringify(streams.toSorted((a, b) => a.id < b.id ? -1 : 1))
  );
  const gone = { blocks: 0, snapshots: 0 };
  for (const [i, dryRun] of [true, false, false].entries()) {
    const report = await maintenance.trimStreams({ dryRun });
    const text = JSON.stringify(report.trimmedStreams.map(figuresOf));
    const isQuiet = report.failures.length + report.refusals.length === 0;
    if (text !== texts[i] || !isQuiet) {
      broken(
        `trimStreams ${i} reports ${text}, ${report.failures.length} failures, ` +
          `${report.refusals.length} refusals, expected ${texts[i]}`,
      );
    }
    if (dryRun) continue;
    gone.blocks += report.miniblocks;
    gone.snapshots += report.snapshots;
  }
  return gone;
}

interface Figures {
  id: string;
  cut: number | undefined;
  blocks: number;
  cleared: string[];
}

function figuresOf(
  { streamId, trimToMbExclusive, miniblocks, nullifySnapshotMbs }:
    TrimReport["trimmedStreams"][number],
): Figures {
  return {
    id: streamId,
    cut: trimToMbExclusive === undefined
      ? undefined
      : Number(trimToMbExclusive),
    blocks: miniblocks,
    cleared: nullifySnapshotMbs.map(String),
  };
}

/** What trimming should remove of a stream; undefined: nothing. */
async function expectedOf(
  { storage, ledger }: Streams,
  id: StreamId,
  rules: typeof cutting,
): Promise<Figures | undefined> {
  const { version, blocks: length } = ledger.of(id);
  if (version === undefined) return undefined;
  if (await storage.streamMiniblocksStoredLocation(id) !== "db") {
    return undefined;
  }
  const written = blocksOf(id, version).slice(0, length);
  const { miniblocks } = await storage.readMiniblocks(id, 0n, 1000n);
  const blocks = miniblocks.map(({ number, snapshot }) => ({
    number,
    snapshot: snapshot ? "beside" as const : besideIsGone(written, number),
  }));
  const left = expectedOutcome({
    blocks,
    latest: BigInt(latestOf(written)),
    history: rules.historyMiniblocks.media,
    retention: rules.snapshotRetentionInterval,
    target: undefined,
    batchSize: 1,
  })!;
  const first = left.numbers[0]!;
  const cleared = blocks.filter(({ number, snapshot }) =>
    snapshot === "beside" && number >= first && !left.beside.includes(number)
  );
  const gone = blocks.length - left.numbers.length;
  if (gone + cleared.length === 0) return undefined;
  return {
    id,
    cut: gone > 0 ? Number(first) : undefined,
    blocks: gone,
    cleared: cleared.map(({ number }) => String(number)),
  };
}

/**
 * Whether the snapshot beside a block is gone. One inside a block cannot be
 * cleared.
 */
function besideIsGone(
  written: Parameters<typeof latestOf>[0],
  number: bigint,
): "inside" | "none" {
  const kind = snapshotOf(written[Number(number)]!);
  return kind === "inside" ? "inside" : "none";
}
