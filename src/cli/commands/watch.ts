/**
 * `watch`: shows a store on a screen that it refreshes, or without a terminal
 * prints a report.
 */

import process from "node:process";
import type { WatchGap, WatchSample } from "../../operator/watch/types.ts";
import { watchStore } from "../../operator/watch/watch_store.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import type { ExitCode } from "../exit_codes.ts";
import { LiveScreen, QuitError } from "../live_screen.ts";
import {
  storeOf,
  type StoreOptions,
  type StorePlace,
  withStore,
} from "../store_options.ts";
import { integer, positive } from "../values.ts";
import { frameOf } from "../watch_frame.ts";

const defaultSeconds = 2;

type Looks = AsyncIterable<WatchSample | WatchGap>;

/** See the file's head. */
export function define(command: NewCommand): void {
  withStore(command)
    .option(
      "--interval <seconds>",
      `the time between two looks (default: ${defaultSeconds})`,
      positive("--interval", { max: 3600 }),
    )
    .option(
      "--count <number>",
      "end after this many looks with rates (default: 1 without a terminal)",
      integer("--count", { min: 1 }),
    )
    .option(
      "--metrics <url>",
      "the store's own metrics, http://host:port/metrics, for its queue and calls",
    )
    .addHelpText(
      "after",
      "\nq or Ctrl-C leaves the screen. With --json: a line of JSON a look.\n" +
        examples(
          "watch",
          "watch --interval 5 --metrics http://node:9464/metrics",
          "watch --json --count 10",
        ),
    )
    .action(run(async (cli, options) => {
      const { interval = defaultSeconds, metrics, count } = options;
      const place = await storeOf(options as StoreOptions, cli);
      const watch = (signal: AbortSignal) =>
        watchStore({
          ...place,
          signal,
          intervalMs: Math.max(100, interval * 1000),
          ...(metrics === undefined ? {} : { metrics }),
        });
      const isLive = process.stdout.isTTY === true && !cli.isJson &&
        process.env.TERM !== "dumb";
      return isLive
        ? await show(cli, place, { watch, count, interval })
        : await report(cli, place, { looks: watch(cli.signal), count });
    }));
}

/** Whether a look has rates. */
function isWhole(look: WatchSample | WatchGap): look is WatchSample {
  return !("lost" in look) && look.rates !== null;
}

async function show(
  cli: Cli,
  { schema }: StorePlace,
  { watch, count, interval }: {
    watch(signal: AbortSignal): Looks;
    count: number | undefined;
    interval: number;
  },
): Promise<ExitCode> {
  let last: WatchSample | undefined;
  let gap: WatchGap | undefined;
  const { colour } = cli;
  using screen = new LiveScreen(({ columns }) => {
    const width = Math.max(40, columns);
    const head = gap === undefined
      ? colour.dim(`Every ${interval} s; q leaves`)
      : colour.red(`${gap.at} ${gap.lost}`.slice(0, width));
    if (last === undefined) return [head];
    return [head, "", ...frameOf(last, { schema, width, colour })];
  });
  screen.draw();
  const signal = AbortSignal.any([cli.signal, screen.signal]);
  try {
    let left = count ?? Infinity;
    for await (const look of watch(signal)) {
      if ("lost" in look) gap = look;
      else [last, gap] = [look, undefined];
      screen.draw();
      if (isWhole(look) && --left <= 0) break;
    }
  } catch (error) {
    if (!(signal.reason instanceof QuitError)) throw error;
  }
  return 0;
}

async function report(
  cli: Cli,
  { schema }: StorePlace,
  { looks, count }: { looks: Looks; count: number | undefined },
): Promise<ExitCode> {
  const { width, colour } = cli;
  let left = count ?? (cli.isJson ? Infinity : 1);
  let isFirst = true;
  for await (const look of looks) {
    if (cli.isJson) await cli.jsonLine(look);
    if (!isWhole(look)) {
      // A single report can't wait until the server is back, so it fails.
      if ("lost" in look && !cli.isJson) throw lost(look);
      continue;
    }
    if (!cli.isJson) {
      const lines = frameOf(look, { schema, width, colour });
      await cli.print(...isFirst ? [] : [""], ...lines);
      isFirst = false;
    }
    if (--left <= 0) break;
  }
  return 0;
}

function lost({ lost }: WatchGap): StreamStorageError {
  return new StreamStorageError({ code: "UNAVAILABLE", message: lost });
}
