/** `trim`: simulates or applies rules of trimming. */

import { simulateTrimming } from "../../operator/trim/simulate_trimming.ts";
import type { TrimmingSimulation } from "../../operator/trim/simulate_trimming.ts";
import type { TrimmedStream, TrimReport } from "../../postgres/maintenance.ts";
import type { TrimmingOptions } from "../../postgres/trimming_options.ts";
import {
  isStoredForm,
  type StreamType,
  streamTypes,
} from "../../storage/stream_id.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatBytes, formatCount, plural } from "../format.ts";
import { withOwnedStorage } from "../owned_storage.ts";
import { storeOf, withOwner, withStore } from "../store_options.ts";
import { UsageError } from "../usage_errors.ts";
import { blockNumber, collect } from "../values.ts";

function withOptions(command: NewCommand) {
  return withOwner(withStore(command))
    .option("--simulate", "change nothing; another instance may own the store")
    .option("--apply", "remove blocks and snapshots")
    .option(
      "--history <type=n>",
      "keep n blocks before the latest snapshot of streams of this type, or of " +
        "all others (default=n); may be repeated",
      collect(ofType("--history")),
    )
    .option(
      "--retention <n>",
      "of the snapshots in each n blocks keep the first, 100 or more",
      blockNumber("--retention"),
    )
    .option(
      "--leave <type>",
      "leave out streams of this type; may be repeated",
      collect(typeOf("--leave")),
    )
    .option(
      "--target <id=n>",
      "cut this stream so that block n stays; may be repeated",
      collect(target),
    )
    .addHelpText(
      "after",
      examples(
        "trim --simulate --history default=5000 --history space=0",
        "trim --simulate --retention 1000 --json",
        "trim --apply --history default=5000",
      ),
    );
}

/** See the file's head. */
export function define(command: NewCommand): void {
  withOptions(command)
    .action(run(async (cli, options) => {
      const { simulate = false, apply = false, takeOver } = options;
      if (simulate === apply) {
        throw new UsageError("Expected --simulate or --apply");
      }
      const trimming = trimmingOf(options);
      const place = await storeOf(options, cli);
      using progress = cli.progress("Looking", "streams");
      if (simulate) {
        const simulation = await simulateTrimming({
          ...place,
          trimming,
          signal: cli.signal,
          onProgress: (amount) => progress.at(amount),
          ...(cli.isJson && { onStream: (stream) => cli.jsonLine(stream) }),
        });
        if (cli.isJson) await cli.jsonLine({ simulation });
        else await showSimulation(cli, simulation);
        return 0;
      }
      const report = await withOwnedStorage(
        { ...place, takeOver },
        cli,
        { trimming },
        (storage) => storage.maintenance.trimStreams({ signal: cli.signal }),
      );
      if (cli.isJson) await cli.document(report);
      else await showReport(cli, report);
      return report.failures.length > 0 ? 1 : 0;
    }));
}

type Kind = StreamType | "default";

function trimmingOf({ history = [], retention, leave = [], target = [] }: {
  history?: [Kind, bigint][] | undefined;
  retention?: bigint | undefined;
  leave?: Kind[] | undefined;
  target?: TrimmingOptions["targets"] | undefined;
}): TrimmingOptions {
  if (history.length + target.length === 0 && retention === undefined) {
    throw new UsageError("Expected --history, --retention or --target");
  }
  return {
    historyMiniblocks: Object.fromEntries(history),
    minSnapshotEvents: Object.fromEntries(leave.map((type) => [type, 0])),
    ...(retention !== undefined && { snapshotRetentionInterval: retention }),
    targets: target,
  };
}

function ofType(option: string): (text: string) => [Kind, bigint] {
  const parseType = typeOf(option);
  const parseNumber = blockNumber(option);
  return (text) => {
    const [type = "", number = ""] = text.split("=", 2);
    return [parseType(type), parseNumber(number)];
  };
}

function typeOf(option: string): (text: string) => Kind {
  const types: readonly Kind[] = [...streamTypes, "default"];
  return (text) => {
    const type = types.find((type) => type === text);
    if (type !== undefined) return type;
    throw new UsageError(
      `Expected a type of streams after ${option}: ${types.join(", ")}`,
    );
  };
}

function target(text: string) {
  const [id = "", number = ""] = text.split("=", 2);
  const streamId = id.toLowerCase().replace(/^0x/, "");
  if (!isStoredForm(streamId)) {
    throw new UsageError(
      "Expected a stream's id, = and the number of a block after --target",
    );
  }
  return { streamId, miniblock: blockNumber("--target")(number) };
}

async function showSimulation(
  cli: Cli,
  { streams, types, largest, refusals }: TrimmingSimulation,
): Promise<void> {
  await cli.print(`${plural(streams, "stream")} examined, nothing changed`);
  if (types.length > 0) {
    const sum = (of: "streams" | "miniblocks" | "snapshots") =>
      formatCount(types.reduce((sum, type) => sum + type[of], 0));
    const bytes = types.reduce((sum, type) => sum + type.bytes, 0n);
    await cli.print("");
    await cli.table({
      columns: [
        { head: "Stream type" },
        { head: "Streams", align: "right" },
        { head: "Blocks", align: "right" },
        { head: "Snapshots", align: "right" },
        { head: "Bytes", align: "right" },
      ],
      rows: types.map((type) => [
        type.type,
        formatCount(type.streams),
        formatCount(type.miniblocks),
        formatCount(type.snapshots),
        formatBytes(type.bytes),
      ]),
      total: [
        "all",
        sum("streams"),
        sum("miniblocks"),
        sum("snapshots"),
        formatBytes(bytes),
      ],
    });
    await cli.print("", ...largest.slice(0, 10).flatMap(describe));
  } else await cli.print("Nothing would be removed.");
  await showRefusals(cli, refusals);
}

/** An id has a line of its own, so that users can copy it. */
function describe(
  { streamId, trimToMbExclusive, miniblocks, snapshots, bytes }: TrimmedStream,
): string[] {
  const parts = [
    ...(trimToMbExclusive === undefined
      ? []
      : [`all below block ${trimToMbExclusive}`]),
    `${formatCount(miniblocks)} blocks`,
    `${formatCount(snapshots)} snapshots`,
    formatBytes(bytes),
  ];
  return [streamId, `  ${parts.join(", ")}`];
}

async function showRefusals(
  cli: Cli,
  refusals: TrimReport["refusals"],
): Promise<void> {
  if (refusals.length === 0) return;
  await cli.print(
    "",
    `${plural(refusals.length, "stream")} damaged and left as found; ` +
      "see verify:",
    ...refusals.slice(0, 20).flatMap(({ streamId, reason }) => [
      streamId,
      `  ${reason}`,
    ]),
  );
}

async function showReport(cli: Cli, report: TrimReport): Promise<void> {
  const { streams, trimmed, miniblocks, snapshots, bytes, failures } = report;
  await cli.print(
    `${plural(streams, "stream")} examined, ${formatCount(trimmed)} trimmed: ` +
      `${plural(miniblocks, "block")}, ${plural(snapshots, "snapshot")}, ` +
      formatBytes(bytes),
    ...failures.map(({ streamId, reason }) =>
      `Failed: ${streamId} (${reason})`
    ),
  );
  await showRefusals(cli, report.refusals);
}
