/** `list`: lists the streams that match a filter. */

import { listStreams } from "../../operator/streams/list_streams.ts";
import { bytesOf, type StreamSizes } from "../../operator/streams/sizes.ts";
import { type StreamType, streamTypes } from "../../storage/stream_id.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatBytes, formatCount } from "../format.ts";
import { storeOf, withStore } from "../store_options.ts";
import {
  bytes,
  choice,
  collect,
  hexPrefix,
  integer,
  rate,
  streamId,
} from "../values.ts";

function withOptions(command: NewCommand) {
  return withStore(command)
    .option(
      "--type <type>",
      "only streams of this type; may be repeated",
      collect<StreamType>(choice("--type", streamTypes)),
    )
    .option("--ephemeral", "only unfinished uploads")
    .option("--no-ephemeral", "no unfinished uploads")
    .option(
      "--location <place>",
      "only streams in database, s3 or gcs",
      choice("--location", ["database", "s3", "gcs"]),
    )
    .option(
      "--prefix <hex>",
      "only ids with this beginning",
      hexPrefix("--prefix"),
    )
    .option(
      "--larger-than <bytes>",
      "only with more bytes in the database: 4096, 20k, 1.5M, 1G",
      bytes("--larger-than"),
    )
    .option("--gaps", "only with missing numbers between their blocks")
    .option(
      "--minipool-over <n>",
      "only with more events in the minipool",
      integer("--minipool-over"),
    )
    .option("--after <id>", "begin after this stream", streamId("--after"))
    .option(
      "--limit <n>",
      "end after this number of streams",
      integer("--limit", { min: 1 }),
    )
    .option("--long", "show the sizes of each stream")
    .option("--rate <MB/s>", "the most to read a second", rate("--rate"))
    .addHelpText(
      "after",
      "\nA line for each stream: its id, with --long its sizes, with --json " +
        "all.\n" +
        examples("list --type space --long", "list --gaps --json"),
    );
}

/** See the file's head. */
export function define(command: NewCommand): void {
  withOptions(command)
    .action(run(async (cli, options) => {
      const { type, prefix, location, largerThan, gaps, minipoolOver } =
        options;
      const { after, rate, ephemeral, limit = Infinity, long = false } =
        options;
      const place = await storeOf(options, cli);
      let left = limit;
      const pages = listStreams({
        ...place,
        signal: cli.signal,
        ...(type && { types: type }),
        ...(ephemeral !== undefined && { isEphemeral: ephemeral }),
        ...(location && { location }),
        ...(prefix && { prefix }),
        ...(largerThan !== undefined && { largerThan }),
        ...(gaps && { hasGaps: true }),
        ...(minipoolOver !== undefined && { minipoolOver }),
        ...(after && { after }),
        ...(rate !== undefined && { rate }),
      });
      for await (const page of pages) {
        const some = page.slice(0, left);
        await show(cli, some, long);
        left -= some.length;
        if (left <= 0) break;
      }
      return 0;
    }));
}

async function show(
  cli: Cli,
  streams: readonly StreamSizes[],
  isLong: boolean,
): Promise<void> {
  if (cli.isJson) {
    for (const stream of streams) await cli.jsonLine(stream);
  } else if (isLong) await cli.print(...streams.flatMap((one) => lines(one)));
  else await cli.print(...streams.map(({ streamId }) => streamId));
}

/** An id takes most of a line of 80 places, so the figures stand below it. */
function lines(stream: StreamSizes): string[] {
  const { streamId, isEphemeral, location, hasGaps } = stream;
  const { blocks, outsideBlocks, snapshots, events, candidates } = stream;
  const parts = [
    stream.type + (isEphemeral ? ", upload" : ""),
    ...(location === "database" ? [] : [`in ${location}`]),
    `${formatCount(blocks + outsideBlocks)} blocks` +
    (hasGaps ? " with gaps" : ""),
    `${formatCount(snapshots)} snapshots`,
    `${formatCount(events)} events`,
    ...(candidates > 0n ? [`${formatCount(candidates)} candidates`] : []),
    formatBytes(bytesOf(stream)),
  ];
  return [streamId, `  ${parts.join(", ")}`];
}
