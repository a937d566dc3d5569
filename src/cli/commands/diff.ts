/** `diff`: shows what differs between two stores. */

import {
  diffStreams,
  type StreamDifference,
} from "../../operator/transfer/diff.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatBytes, formatCount, formatDuration, plural } from "../format.ts";
import { ResumeFile } from "../resume_file.ts";
import {
  parseStream,
  showProgress,
  transferOptionsOf,
  withTransfer,
} from "../transfer_options.ts";
import { twoStoresOf, withTwoStores } from "../two_stores.ts";

function withOptions(command: NewCommand) {
  return withTransfer(withTwoStores(command))
    .argument("[id...]", "the streams (default: all)")
    .option("--resume <file>", "save the progress there, and continue from it")
    .addHelpText(
      "after",
      "\nThe left store is that of --from. Streams that are written to meanwhile\n" +
        "may be shown as behind.\n" +
        examples(
          "diff --from-file old --to-file new",
          "diff --from-schema s0xab… --to-schema s0xcd… --json",
        ),
    );
}

/** See the file's head. */
export function define(command: NewCommand): void {
  withOptions(command)
    .action(run(async (cli, ids, options) => {
      const streamIds = ids.map(parseStream);
      const { from, to } = await twoStoresOf(options, cli);
      const work = `diff ${from.schema} ${to.schema}`;
      await using resume = await ResumeFile.open(options.resume, work);
      using progress = cli.progress("Comparing", "bytes");
      const show = showProgress(progress);
      const summary = await diffStreams({
        left: from,
        right: to,
        ...transferOptionsOf(options),
        ...(streamIds.length > 0 && { streamIds }),
        ...(resume.after !== undefined && { after: resume.after }),
        signal: cli.signal,
        onProgress: (amount) => {
          resume.at(amount.after);
          show(amount);
        },
        onDifference: (difference) => {
          const printed = cli.isJson
            ? cli.jsonLine(difference)
            : cli.print(...describe(difference));
          printed.catch(() => {});
        },
      });
      resume.done();
      if (cli.isJson) await cli.jsonLine({ summary });
      else {
        const { streams, equal, different, bytes, seconds } = summary;
        await cli.print(
          `${plural(streams, "stream")}: ${formatCount(equal)} equal, ` +
            `${formatCount(different)} different, ${
              formatBytes(bytes)
            } compared, ` +
            formatDuration(seconds),
        );
      }
      return summary.different > 0 ? 1 : 0;
    }));
}

/** An id has a line of its own, so that users can copy it. */
function describe({ streamId, status, what }: StreamDifference): string[] {
  return [streamId, `  ${status.replace("_", " ")}: ${what}`];
}
