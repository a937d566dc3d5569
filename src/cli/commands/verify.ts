/** `verify`: finds what is wrong in a store. */

import type { VerifyLevel } from "../../operator/verify/level.ts";
import type { VerifyOptions } from "../../operator/verify/options.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { readMediaOption } from "../media_option.ts";
import { storeOf } from "../store_options.ts";
import { UsageError } from "../usage_errors.ts";
import { choice, integer } from "../values.ts";
import { readFindings } from "../verify/findings_file.ts";
import { runVerify } from "../verify/run_verify.ts";
import { scopeOf, withScope } from "../verify/scope.ts";

function withOptions(command: NewCommand) {
  return withScope(command)
    .option("--quick", "only tables, columns, keys, and streams without rows")
    .option("--deep", "decode every block, check its hashes and the chain")
    .option(
      "--since <blocks>",
      "with --deep: only this many of each stream's last blocks",
      integer("--since", { min: 1 }),
    )
    .option(
      "--bucket <file>",
      "with --deep: read object storage, too; the file holds the option " +
        "mediaStorage as JSON, and only you can read it",
    )
    .option(
      "--acknowledged <file>",
      "only count the findings in this file, which holds lines that " +
        "--json has printed",
    )
    .option(
      "--archives <which>",
      "which streams are an archiver's: all, none or by_rows (default: by the " +
        "schema's name)",
      choice("--archives", ["all", "none", "by_rows"]),
    )
    .option(
      "--concurrency <n>",
      "partitions at the same time (default: 4)",
      integer("--concurrency", { min: 1, max: 64 }),
    )
    .option("--resume <file>", "save the progress there, and continue from it")
    .addHelpText(
      "after",
      "\nIt only reads, so a node may be at work meanwhile. With --json, a line " +
        "for\neach finding and one with a summary. Exit status 1 if there are " +
        "errors or\nwarnings; notes are no damage.\n" +
        examples(
          "verify",
          "verify --deep --rate 20 --resume verify.state",
          "verify --json >known; verify --acknowledged known",
          "verify --deep --since 100 --type space",
        ),
    );
}

/** See the file's head. */
export function define(command: NewCommand): void {
  withOptions(command)
    .action(run(async (cli, options) => {
      const level = levelOf(options);
      const { since, bucket, acknowledged, archives, concurrency } = options;
      const verification: VerifyOptions = {
        ...await storeOf(options, cli),
        ...scopeOf(options),
        level,
        signal: cli.signal,
        ...(since !== undefined && { since }),
        ...(bucket !== undefined && {
          mediaStorage: await readMediaOption(bucket),
        }),
        ...(acknowledged !== undefined && {
          acknowledged: await readFindings(acknowledged),
        }),
        ...(archives && { archives }),
        ...(concurrency !== undefined && {
          concurrency,
          maxConnections: concurrency,
        }),
      };
      const { errors, warnings } = await runVerify(
        cli,
        verification,
        options.resume,
      );
      return errors + warnings > 0 ? 1 : 0;
    }));
}

function levelOf({ quick, deep, since, bucket }: {
  quick?: true | undefined;
  deep?: true | undefined;
  since?: number | undefined;
  bucket?: string | undefined;
}): VerifyLevel {
  if (quick && deep) {
    throw new UsageError("Expected --quick or --deep, received both");
  }
  if (!deep && since !== undefined) {
    throw new UsageError("Expected --deep with --since");
  }
  if (!deep && bucket !== undefined) {
    throw new UsageError("Expected --deep with --bucket");
  }
  return quick ? "quick" : deep ? "deep" : "structure";
}
