/** `move`: moves a store to another worker node of its cluster. */

import {
  type MoveReport,
  moveStore,
} from "../../operator/cluster/move_store.ts";
import { isStreamStorageError } from "../../storage/errors.ts";
import { quoted } from "../../storage/foreign_text.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatBytes, formatDuration } from "../format.ts";
import { serverOf, withServer } from "../store_options.ts";
import { choice } from "../values.ts";

/** See the file's head. */
export function define(command: NewCommand): void {
  withServer(command)
    .argument("<schema>", "the store's schema")
    .requiredOption(
      "--to <worker>",
      "HOST:PORT with the name that the cluster's servers use, see status",
    )
    .option(
      "--mode <mode>",
      "logical: copy while the store is used; block-writes: all writes " +
        "wait, but no replica identity is needed (default: logical)",
      choice("--mode", ["logical", "block-writes"]),
    )
    .addHelpText(
      "after",
      "\n--url is the coordinator's. Ctrl-C leaves the store where it was.\n" +
        examples(
          "move s0xab… --to 10.0.0.12:5432",
          "move s0xab… --to 10.0.0.12:5432 --mode block-writes",
        ),
    )
    .action(run(async (cli, schema, { to, mode, ...options }) => {
      const url = await serverOf(options);
      const moved = await move(cli, {
        url,
        schema,
        to,
        ...(mode !== undefined && { mode }),
      });
      if (cli.isJson) await cli.document(moved);
      else await show(cli, moved);
      return 0;
    }));
}

async function move(
  cli: Cli,
  options: Parameters<typeof moveStore>[0],
): Promise<MoveReport> {
  using progress = cli.progress("Moving", "bytes");
  try {
    return await moveStore({
      ...options,
      signal: cli.signal,
      onProgress: ({ done, total, step }) =>
        progress.at({
          done: Number(done),
          ...(total !== undefined && { total: Number(total) }),
          ...(step !== undefined && { note: step }),
        }),
    });
  } catch (error) {
    if (isStreamStorageError(error, "CANCELED") && !cli.isJson) {
      const { schema, worker, isMoved } = error.details;
      const when = isMoved ? "moved already" : "not moved";
      if (worker !== undefined) {
        cli.note(`${quoted(String(schema))} is on ${worker}: ${when}`);
      }
    }
    throw error;
  }
}

async function show(
  cli: Cli,
  { schema, from, to, bytes, seconds }: MoveReport,
): Promise<void> {
  const size = bytes === null ? "" : `${formatBytes(bytes)}, `;
  await cli.print(
    `${quoted(schema)} moved from ${from} to ${to}: ${size}` +
      `${formatDuration(seconds)}`,
  );
}
