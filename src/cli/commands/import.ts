/** `import`: reads streams from a file. */

import { importStreams, verifyExport } from "../../operator/transfer/import.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatBytes, plural } from "../format.ts";
import { ResumeFile } from "../resume_file.ts";
import { storeOf, withOwner, withStore } from "../store_options.ts";
import {
  describeTransfer,
  parseStream,
  problemPrinter,
  showProgress,
  transferOptionsOf,
  withTransfer,
} from "../transfer_options.ts";
import { UsageError } from "../usage_errors.ts";
import { collect } from "../values.ts";

function withOptions(command: NewCommand) {
  return withTransfer(withOwner(withStore(command)))
    .argument("<file>", "the file; it is read twice, so it can't be a pipe")
    .option(
      "--stream <id>",
      "only this stream; may be repeated",
      collect(parseStream),
    )
    .option("--check", "only verify the file, without a server")
    .option("--replace", "replace streams that exist")
    .option("--extend", "add to existing streams what they lack")
    .option("--resume <file>", "save the progress there, and continue from it")
    .addHelpText(
      "after",
      examples(
        "import all.gz --check",
        "import all.gz --resume import.state",
        "import two.streams --extend",
      ),
    );
}

/** See the file's head. */
export function define(command: NewCommand): void {
  withOptions(command)
    .action(run(async (cli, file, options) => {
      const { check, replace, extend, stream, takeOver } = options;
      if (replace && extend) {
        throw new UsageError("Expected --replace or --extend, received both");
      }
      if (check) return await verify(cli, file);
      const place = await storeOf(options, cli);
      const work = `import ${place.schema}`;
      await using resume = await ResumeFile.open(options.resume, work);
      using progress = cli.progress("Importing", "bytes");
      const show = showProgress(progress);
      const summary = await importStreams({
        ...place,
        ...transferOptionsOf(options),
        ...(stream && { streamIds: stream }),
        ...(resume.after !== undefined && { after: resume.after }),
        takeOver: takeOver ?? false,
        existing: replace ? "replace" : extend ? "extend" : "refuse",
        file,
        signal: cli.signal,
        onProgress: (amount) => {
          resume.at(amount.after);
          show(amount);
        },
        onProblem: problemPrinter(cli),
      });
      resume.done();
      if (cli.isJson) await cli.jsonLine({ summary });
      else await cli.print(describeTransfer(summary, "written"));
      return summary.problems > 0 ? 1 : 0;
    }));
}

async function verify(cli: Cli, file: string): Promise<0> {
  using progress = cli.progress("Verifying", "bytes");
  const contents = await verifyExport(file, {
    signal: cli.signal,
    onProgress: ({ streams, bytes }) =>
      progress.at({ done: bytes, note: plural(streams, "stream") }),
  });
  if (cli.isJson) await cli.document(contents);
  else {
    const { header, streams, blocks, bytes } = contents;
    await cli.print(
      `Complete: ${plural(streams, "stream")}, ${plural(blocks, "block")}, ` +
        `${formatBytes(bytes)}, from ${header.source}`,
    );
  }
  return 0;
}
