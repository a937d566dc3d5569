/** `copy`: copies streams from one store to another. */

import { copyStreams } from "../../operator/transfer/copy.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { readMediaOption } from "../media_option.ts";
import { ResumeFile } from "../resume_file.ts";
import { withOwner } from "../store_options.ts";
import {
  describeTransfer,
  parseStream,
  problemPrinter,
  showProgress,
  transferOptionsOf,
  withTransfer,
} from "../transfer_options.ts";
import { twoStoresOf, withTwoStores } from "../two_stores.ts";
import { UsageError } from "../usage_errors.ts";

function withOptions(command: NewCommand) {
  return withTransfer(withOwner(withTwoStores(command)))
    .argument("[id...]", "the streams (default: all)")
    .option("--follow", "repeat until there is nothing to copy")
    .option("--replace", "replace streams that can't be extended")
    .option("--new", "copy only streams that don't exist in the target")
    .option("--resume <file>", "save the progress there, and continue from it")
    .option(
      "--bucket <file>",
      "the option mediaStorage as JSON, to fetch what is in object storage",
    )
    .addHelpText(
      "after",
      "\nStreams that exist get what they lack, unless they differ.\n" +
        examples(
          "copy --from-file old --to-file new",
          "copy --from-schema s0xab… --to-schema s0xcd… --follow",
          "copy 10ab… --from-file replica --to-file node --take-over",
        ),
    );
}

/** See the file's head. */
export function define(command: NewCommand): void {
  withOptions(command)
    .action(run(async (cli, ids, options) => {
      const { replace, new: isNew, follow = false, takeOver } = options;
      if (replace && isNew) {
        throw new UsageError("Expected --replace or --new, received both");
      }
      const streamIds = ids.map(parseStream);
      const { from, to } = await twoStoresOf(options, cli);
      const work = `copy ${from.schema} ${to.schema}`;
      await using resume = await ResumeFile.open(options.resume, work);
      using progress = cli.progress("Copying", "bytes");
      const show = showProgress(progress);
      const mediaStorage = options.bucket === undefined
        ? undefined
        : await readMediaOption(options.bucket);
      const summary = await copyStreams({
        from: { ...from, ...(mediaStorage && { mediaStorage }) },
        to: { ...to, takeOver: takeOver ?? false },
        ...transferOptionsOf(options),
        ...(streamIds.length > 0 && { streamIds }),
        ...(resume.after !== undefined && { after: resume.after }),
        existing: replace ? "replace" : isNew ? "refuse" : "extend",
        follow,
        signal: cli.signal,
        onProgress: (amount) => {
          resume.at(amount.after);
          show(amount);
        },
        onProblem: problemPrinter(cli),
        onRound: (round) => {
          if (follow) cli.note(describeTransfer(round, "copied"));
        },
      });
      resume.done();
      if (cli.isJson) await cli.jsonLine({ summary });
      else await cli.print(describeTransfer(summary, "copied"));
      return summary.problems > 0 ? 1 : 0;
    }));
}
