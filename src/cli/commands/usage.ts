/** `usage`: shows what takes disk space, and what would free it. */

import { storeUsage } from "../../operator/usage/store_usage.ts";
import { payloadOf } from "../../operator/usage/tally.ts";
import type { StoreUsage } from "../../operator/usage/types.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatBytes, formatCount, formatShare, plural } from "../format.ts";
import { wrapped } from "../screen.ts";
import { storeOf, withStore } from "../store_options.ts";
import { integer, positive, rate } from "../values.ts";

/** See the file's head. */
export function define(command: NewCommand): void {
  withStore(command)
    .option(
      "--sample <percent>",
      "examine this percentage of the streams",
      positive("--sample", { max: 100 }),
    )
    .option(
      "--top <n>",
      "show this many of the largest streams (default: 10)",
      integer("--top", { min: 1, max: 1000 }),
    )
    .option("--rate <MB/s>", "the most to read a second", rate("--rate"))
    .addHelpText(
      "after",
      "\nWith --json a line for each stream, then one with the usage.\n" +
        examples("usage", "usage --sample 5", "usage --json > usage.jsonl"),
    )
    .action(run(async (cli, options) => {
      const place = await storeOf(options, cli);
      const { sample, top, rate } = options;
      using progress = cli.progress("Looking", "streams");
      const usage = await storeUsage({
        ...place,
        ...(sample !== undefined && { sample }),
        ...(top !== undefined && { top }),
        ...(rate !== undefined && { rate }),
        signal: cli.signal,
        onProgress: (amount) => progress.at(amount),
        ...(cli.isJson && {
          onStreams: async (streams) => {
            for (const stream of streams) await cli.jsonLine(stream);
          },
        }),
      });
      if (cli.isJson) await cli.jsonLine({ usage });
      else await show(cli, usage);
      return 0;
    }));
}

async function show(cli: Cli, usage: StoreUsage): Promise<void> {
  const { sample, payloadBytes, types, largest } = usage;
  if (sample !== undefined) {
    await cli.print(
      wrapped(
        `A sample of ${plural(sample.streams, "stream")}, ` +
          `${sample.percent} %: the payload is ${formatBytes(payloadBytes)} ` +
          `± ${formatBytes(sample.bytes)} in 95 of 100 samples.`,
        cli.width,
      ),
      "",
    );
  }
  await showTypes(cli, usage);
  if (types.length > 0) await cli.print("");
  await showDisk(cli, usage);
  if (largest.length === 0) return;
  // An id has a line of its own and is not cut, so that users can copy it.
  await cli.print(
    "",
    cli.colour.bold("Largest streams"),
    ...largest.flatMap(({ streamId, type, bytes, reason }) => [
      streamId,
      `  ${type}, ${formatBytes(bytes)}: ${reason}`,
    ]),
  );
}

async function showTypes(
  cli: Cli,
  { types, total }: StoreUsage,
): Promise<void> {
  const cells = (usage: StoreUsage["total"]) => [
    formatCount(usage.streams),
    formatBytes(usage.blockBytes),
    formatBytes(usage.snapshotBytes),
    formatBytes(usage.minipoolBytes),
    formatBytes(usage.candidateBytes),
    formatBytes(payloadOf(usage)),
    formatBytes(usage.outsideBytes),
  ];
  const heads = [
    "Streams",
    "Blocks",
    "Snapshots",
    "Minipools",
    "Cand.",
    "All",
    "Outside",
  ];
  await cli.table({
    columns: [
      { head: "Type", shrinks: true },
      ...heads.map((head) => ({ head, align: "right" as const })),
    ],
    rows: types.map((usage) => [usage.type, ...cells(usage)]),
    total: ["all", ...cells(total)],
  });
}

async function showDisk(
  cli: Cli,
  { payloadBytes, disk, total }: StoreUsage,
): Promise<void> {
  const { tableBytes, indexBytes, deadRows, freeBytes, isEstimated } = disk;
  const all = tableBytes + indexBytes;
  const part = (bytes: number) =>
    `${formatBytes(bytes).padStart(8)}  ${formatShare(bytes, all).padStart(5)}`;
  await cli.print(
    `${cli.colour.bold("On disk ")} ${part(all)}` +
      (isEstimated ? "  estimated: a table is locked" : ""),
    `payload  ${part(payloadBytes)}`,
    `indexes  ${part(indexBytes)}`,
    `free     ${part(freeBytes)}  about; dead rows and room for new ones, ` +
      `${formatCount(deadRows)} dead`,
    `old      ${part(total.oldBytes)}  before the latest snapshots: trimming ` +
      "takes no more",
  );
}
