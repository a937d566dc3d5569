/** `media`: manages media streams in object storage. */

import { mediaStatus } from "../../operator/media/media_status.ts";
import type {
  MediaStatus,
  MediaTasks,
} from "../../operator/media/media_status.ts";
import type { ReconcileMediaReport } from "../../postgres/maintenance.ts";
import { parseStreamId } from "../../storage/stream_id.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatBytes, formatCount, formatDuration, plural } from "../format.ts";
import { readMediaOption } from "../media_option.ts";
import { withOwnedStorage } from "../owned_storage.ts";
import { storeOf, withOwner, withStore } from "../store_options.ts";
import { integer, streamId } from "../values.ts";

const bucket = [
  "--bucket <file>",
  "the option mediaStorage as JSON, in a file that only you can read; keys of " +
  "S3 may come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead",
] as const;

/** See the file's head. */
export function define(command: NewCommand): void {
  defineStatus(command);
  defineReconcile(command);
  defineRehydrate(command);
  command.addHelpText(
    "after",
    examples(
      "media status",
      "media reconcile --bucket bucket.json",
      "media rehydrate ID --bucket bucket.json",
    ),
  );
}

function defineStatus(command: NewCommand): void {
  withStore(command.command("status"))
    .description("show where media streams are, and which tasks wait")
    .action(run(async (cli, options) => {
      const place = await storeOf(options, cli);
      const status = await mediaStatus({ ...place, signal: cli.signal });
      if (cli.isJson) await cli.document(status);
      else await showStatus(cli, status);
      return 0;
    }));
}

function defineReconcile(command: NewCommand): void {
  withOwner(withStore(command.command("reconcile")))
    .description("compare bucket and database; changes nothing without --apply")
    .requiredOption(...bucket)
    .option("--apply", "delete objects that no stream uses")
    .option(
      "--max-deleted <n>",
      "allow this many deletions, even if they are a large part",
      integer("--max-deleted"),
    )
    .action(run(async (cli, options) => {
      const { apply = false, maxDeleted, takeOver } = options;
      const mediaStorage = await readMediaOption(options.bucket);
      const place = { ...await storeOf(options, cli), takeOver };
      using _ = cli.progress("Comparing", "streams");
      const report = await withOwnedStorage(
        place,
        cli,
        { mediaStorage },
        (storage) =>
          storage.maintenance.reconcileMedia({
            dryRun: !apply,
            ...(maxDeleted !== undefined && { maxDeleted }),
            signal: cli.signal,
          }),
      );
      if (cli.isJson) await cli.document(report);
      else await cli.print(...describeReconciled(report));
      const { missing, damaged, inBothPlaces, unused, deleted } = report;
      const open = missing + damaged + inBothPlaces + unused - deleted;
      return open > 0 ? 1 : 0;
    }));
}

function defineRehydrate(command: NewCommand): void {
  withOwner(withStore(command.command("rehydrate")))
    .description(
      "bring a stream's blocks back into the database, and keep them",
    )
    .argument("<id>", "the stream's id", streamId("to rehydrate"))
    .requiredOption(...bucket)
    .action(run(async (cli, id, options) => {
      const mediaStorage = await readMediaOption(options.bucket);
      const { takeOver } = options;
      const place = { ...await storeOf(options, cli), takeOver };
      using _ = cli.progress("Bringing blocks back", "blocks");
      const report = await withOwnedStorage(
        place,
        cli,
        { mediaStorage },
        (storage) =>
          storage.maintenance.rehydrateMedia(parseStreamId(id), {
            signal: cli.signal,
          }),
      );
      if (cli.isJson) await cli.document(report);
      else {
        const { rehydrated, blocks, bytes } = report;
        await cli.print(
          rehydrated
            ? `${plural(blocks, "block")}, ${formatBytes(bytes)}, are back`
            : "The stream is in the database already",
        );
      }
      return 0;
    }));
}

async function showStatus(
  cli: Cli,
  { streams, unmoved, tasks, changes }: MediaStatus,
): Promise<void> {
  if (streams.length === 0) await cli.print("No media streams");
  else {
    await cli.table({
      columns: [
        { head: "Media streams" },
        { head: "" },
        { head: "Number", align: "right" },
      ],
      rows: streams.map(({ location, isEphemeral, streams }) => [
        location,
        isEphemeral ? "upload" : "",
        formatCount(streams),
      ]),
    });
  }
  if (tasks === undefined) {
    await cli.print(
      "",
      "Tasks: unknown. A node made the schema, or this role has no rights.",
    );
    return;
  }
  await cli.print(
    "",
    `In the database without a task: ${formatCount(unmoved!)}`,
    `Requests that storage may still execute: ${formatCount(changes!)}`,
  );
  await showTasks(cli, tasks);
}

async function showTasks(cli: Cli, tasks: MediaTasks[]): Promise<void> {
  if (tasks.length === 0) return;
  await cli.print("");
  await cli.table({
    columns: [
      { head: "Task" },
      { head: "Number", align: "right" },
      { head: "Attempts", align: "right" },
      { head: "Due" },
      { head: "Failed because", shrinks: true },
    ],
    rows: tasks.map(({ task, streams, attempts, dueInMs, reason }) => [
      task,
      formatCount(streams),
      formatCount(attempts),
      task === "keep"
        ? ""
        : dueInMs > 0
        ? `in ${formatDuration(dueInMs / 1000)}`
        : "now",
      reason ?? "",
    ]),
  });
}

function describeReconciled(report: ReconcileMediaReport): string[] {
  const { dryRun, objects, streams, unused, unusedBytes, young } = report;
  const { foreign, missing, damaged, inBothPlaces, deleted, refused } = report;
  return [
    `${plural(objects, "object")}, ${plural(streams, "stream")} in the bucket`,
    `Unused: ${formatCount(unused)}, ${formatBytes(unusedBytes)}, ` +
    `${formatCount(young)} too young to be deleted`,
    `Not ours: ${formatCount(foreign)}`,
    `Streams whose object is missing: ${formatCount(missing)}, damaged: ` +
    `${formatCount(damaged)}, in both places: ${formatCount(inBothPlaces)}`,
    ...report.brokenStreams.slice(0, 20).map((id) => `  ${id}`),
    refused !== undefined
      ? `Deleted: none (${refused}), see --max-deleted`
      : dryRun
      ? "Deleted: none, see --apply"
      : `Deleted: ${formatCount(deleted)}`,
  ];
}
