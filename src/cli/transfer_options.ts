/** The options and messages that the commands of transfers share. */

import type { Command, OptionValues } from "@commander-js/extra-typings";
import type {
  StreamProblem,
  TransferProgress,
  TransferSummary,
} from "../operator/transfer/options.ts";
import { type StreamType, streamTypes } from "../storage/stream_id.ts";
import type { Cli } from "./cli.ts";
import { formatBytes, formatCount, formatDuration, plural } from "./format.ts";
import type { Progress } from "./progress.ts";
import { choice, collect, integer, rate, streamId } from "./values.ts";

/** What {@linkcode withTransfer} adds. */
export type TransferCliOptions = {
  type?: StreamType[] | undefined;
  rate?: number | undefined;
  concurrency?: number | undefined;
};

/** Adds the options that choose streams and limit the speed. */
export function withTransfer<
  A extends unknown[],
  O extends OptionValues,
  G extends OptionValues,
>(command: Command<A, O, G>): Command<A, O & TransferCliOptions, G> {
  return command
    .option(
      "--type <type>",
      "only streams of this type; may be repeated",
      collect<StreamType>(choice("--type", streamTypes)),
    )
    .option("--rate <MB/s>", "the most to transfer a second", rate("--rate"))
    .option(
      "--concurrency <n>",
      "streams at the same time (default: 16)",
      integer("--concurrency", { min: 1, max: 64 }),
    ) as unknown as Command<A, O & TransferCliOptions, G>;
}

/** The options as the library takes them. */
export function transferOptionsOf(
  { type, rate, concurrency }: TransferCliOptions,
) {
  return {
    ...(type && { types: type }),
    ...(rate !== undefined && { rate }),
    ...(concurrency !== undefined && { concurrency }),
  };
}

/** Parses an argument or option that is the id of a stream to transfer. */
export const parseStream = streamId("to move");

/** Shows the progress of a transfer. */
export function showProgress(
  progress: Progress,
): (amount: TransferProgress) => void {
  return ({ streams, bytes }) =>
    progress.at({ done: bytes, note: plural(streams, "stream") });
}

/** Prints each problem at once, with the id on a line of its own. */
export function problemPrinter(cli: Cli): (problem: StreamProblem) => void {
  return (problem) => {
    const { streamId, what } = problem;
    const printed = cli.isJson
      ? cli.jsonLine(problem)
      : cli.print(streamId, `  ${what.replaceAll(streamId, "it")}`);
    // If the reader of the output has gone, the command's signal is aborted
    // already.
    printed.catch(() => {});
  };
}

/** Describes the result of a transfer in a line. */
export function describeTransfer(
  { streams, written, equal, problems, blocks, bytes, seconds }:
    TransferSummary,
  verb: string,
): string {
  const parts = [
    `${formatCount(written)} of ${plural(streams, "stream")} ${verb}`,
    ...(equal > 0 ? [`${formatCount(equal)} equal`] : []),
    ...(problems > 0 ? [`${formatCount(problems)} not`] : []),
    plural(blocks, "block"),
    formatBytes(bytes),
    formatDuration(seconds),
  ];
  return parts.join(", ");
}
