/** Draws the profiles of rows. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { flameGraph } from "../report/flame_graph.ts";
import { figure } from "../report/format.ts";
import type { Figures } from "./place.ts";
import type { MarkRow } from "./rows.ts";

/**
 * Measures a row once more, under the profiler, and saves what that recorded in
 * the directory: `ROW.RUNTIME.cpuprofile`, which the tools of browsers open, and
 * its picture, `ROW.RUNTIME.svg`.
 */
export async function drawProfile(
  directory: string,
  row: MarkRow,
  runtime: string,
  measure: (profilePath: string) => Promise<Figures>,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, `${row.id}.${runtime}`);
  const { perSecond, cpuMs } = await measure(`${path}.cpuprofile`);
  const profile = JSON.parse(await readFile(`${path}.cpuprofile`, "utf8"));
  const subtitle = "The thread that runs JavaScript, without its idle time." +
    (perSecond === undefined || cpuMs === undefined
      ? ""
      : ` All threads, with the profiler: ${
        figure(cpuMs)
      } ms of CPU time a call.`);
  const heading = { title: `${row.title} (${runtime})`, subtitle };
  await writeFile(`${path}.svg`, flameGraph(profile, heading));
}
