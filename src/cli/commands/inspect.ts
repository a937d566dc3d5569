/** `inspect`: draws one stream, lists its blocks, or shows one block. */

import { listBlocks } from "../../operator/inspect/blocks.ts";
import { inspectStream } from "../../operator/inspect/inspect_stream.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { drawStream } from "../inspect/draw_stream.ts";
import { type BlockForm, showBlock } from "../inspect/show_block.ts";
import { formatBytes } from "../format.ts";
import { storeOf, type StorePlace, withStore } from "../store_options.ts";
import { UsageError } from "../usage_errors.ts";
import { blockNumber, hexPrefix } from "../values.ts";

const forms = ["raw", "hex", "proto"] as const;

function withOptions(command: NewCommand) {
  return withStore(command)
    .argument(
      "<id>",
      "the stream's id, or the beginning of it",
      hexPrefix("as the stream's id"),
    )
    .option("--blocks", "a line for each block")
    .option(
      "--from <n>",
      "with --blocks: the first block",
      blockNumber("--from"),
    )
    .option("--to <n>", "with --blocks: the last block", blockNumber("--to"))
    .option("--block <n>", "one block, decoded", blockNumber("--block"))
    .option("--raw", "with --block: its data as they are")
    .option("--hex", "with --block: its data as hexadecimal digits")
    .option("--proto", "with --block: its data as the fields of the protocol")
    .addHelpText(
      "after",
      "\nPayload is shown only with --raw, --hex or --proto.\n" +
        examples(
          "inspect 10e734",
          "inspect 10e734 --blocks --from 1000",
          "inspect 10e734 --block 0 --raw > block",
        ),
    );
}

/** See the file's head. */
export function define(command: NewCommand): void {
  withOptions(command)
    .action(run(async (cli, streamId, options) => {
      const { block, blocks, from, to } = options;
      const given = forms.filter((form) => options[form]);
      if (given.length > 1 || (given.length > 0 && block === undefined)) {
        throw new UsageError(
          "Expected --block and one of --raw, --hex, --proto",
        );
      }
      const place = { ...await storeOf(options, cli), signal: cli.signal };
      if (block !== undefined) {
        const form: BlockForm = given[0] ?? "decoded";
        await showBlock(cli, { ...place, streamId, number: block }, form);
      } else if (blocks) {
        await showBlocks(cli, { ...place, streamId }, { from, to });
      } else {
        const stream = await inspectStream({ ...place, streamId });
        if (cli.isJson) await cli.document(stream);
        else await cli.print(...drawStream(stream, cli));
        return stream.findings.some(({ severity }) => severity === "error")
          ? 1
          : 0;
      }
      return 0;
    }));
}

async function showBlocks(
  cli: Cli,
  stream: StorePlace & { streamId: string; signal: AbortSignal },
  { from, to }: { from?: bigint | undefined; to?: bigint | undefined },
): Promise<void> {
  const pages = listBlocks({
    ...stream,
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
  });
  let expected: bigint | undefined;
  for await (const page of pages) {
    for (const block of page) {
      if (cli.isJson) {
        await cli.jsonLine(block);
        continue;
      }
      const { number, bytes, snapshotBytes, startByte } = block;
      if (expected !== undefined && number > expected) {
        await cli.print(
          cli.colour.yellow(`${"".padStart(12)}  ${number - expected} missing`),
        );
      }
      expected = number + 1n;
      const snapshot = snapshotBytes === 0n
        ? ""
        : `  snapshot ${formatBytes(snapshotBytes)}`;
      const place = startByte === undefined ? "" : `  at byte ${startByte}`;
      await cli.print(
        `${String(number).padStart(12)}  ${
          formatBytes(bytes).padStart(9)
        }${snapshot}${place}`,
      );
    }
  }
}
