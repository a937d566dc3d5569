/** `export`: writes streams into a file. */

import { exportStreams } from "../../operator/transfer/export.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatBytes, formatDuration, plural } from "../format.ts";
import { readMediaOption } from "../media_option.ts";
import { storeOf, withStore } from "../store_options.ts";
import {
  parseStream,
  problemPrinter,
  showProgress,
  transferOptionsOf,
  withTransfer,
} from "../transfer_options.ts";

function withOptions(command: NewCommand) {
  return withTransfer(withStore(command))
    .usage("[options] [id...] <file>")
    .argument(
      "<words...>",
      "the streams (default: all), then the new file, " +
        "compressed if its name ends with .gz",
    )
    .option(
      "--resume",
      "continue the file of an interrupted export; not a .gz",
    )
    .option(
      "--bucket <file>",
      "the option mediaStorage as JSON, to fetch what is in object storage",
    )
    .addHelpText(
      "after",
      examples(
        "export all.gz",
        "export 10ab… 10cd… two.streams",
        "export --type space --rate 20 spaces.streams",
      ),
    );
}

/** See the file's head. */
export function define(command: NewCommand): void {
  withOptions(command)
    .action(run(async (cli, words, options) => {
      const file = words.at(-1)!;
      const streamIds = words.slice(0, -1).map(parseStream);
      const place = await storeOf(options, cli);
      using progress = cli.progress("Exporting", "bytes");
      const summary = await exportStreams({
        ...place,
        ...transferOptionsOf(options),
        ...(options.bucket !== undefined && {
          mediaStorage: await readMediaOption(options.bucket),
        }),
        ...(streamIds.length > 0 && { streamIds }),
        file,
        resume: options.resume ?? false,
        signal: cli.signal,
        onProgress: showProgress(progress),
        onProblem: problemPrinter(cli),
      });
      if (cli.isJson) await cli.jsonLine({ summary });
      else {
        const { streams, blocks, bytes, problems, seconds } = summary;
        const left = problems > 0 ? `, ${problems} left out` : "";
        await cli.print(
          `${plural(streams, "stream")} in the file, ` +
            `${plural(blocks, "block")}, ${formatBytes(bytes)}, ` +
            `${formatDuration(seconds)}${left}`,
        );
      }
      return summary.problems > 0 ? 1 : 0;
    }));
}
