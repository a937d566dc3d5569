/**
 * Runs a verification, shows its progress and findings, and lets a later run
 * continue it.
 */

import type { VerifySummary } from "../../operator/verify/findings.ts";
import type {
  VerifyOptions,
  VerifyProgress,
} from "../../operator/verify/options.ts";
import type { VerifyState } from "../../operator/verify/state.ts";
import { type Verification, verify } from "../../operator/verify/verify.ts";
import { Cli, OutputClosedError } from "../cli.ts";
import { formatBytes, plural } from "../format.ts";
import type { Amount } from "../progress.ts";
import { ResumeFile } from "../resume_file.ts";
import { describeSummary, Found, type FoundKind } from "./found.ts";

/** The state for a run that continues. */
interface SavedRun {
  state: VerifyState;
  found: FoundKind[];
}

/**
 * Verifies and prints the findings: as JSON at once, for people at the end.
 *
 * @param resume The file that keeps the state of the run.
 */
export async function runVerify(
  cli: Cli,
  options: VerifyOptions,
  resume: string | undefined,
): Promise<VerifySummary> {
  await using file = await ResumeFile.open<SavedRun>(
    resume,
    workOf(cli, options),
  );
  const saved = file.after;
  const found = new Found(saved?.found);
  using progress = cli.progress("Verifying", "partitions", {
    done: saved?.state.done.length ?? 0,
  });
  const since = performance.now();
  const verification = verify({
    ...options,
    ...(saved && { resume: saved.state }),
    onProgress: (amount) => {
      progress.at(amountOf(amount, since));
      file.at({ state: amount.state, found: found.kept });
    },
  });
  try {
    await collect(cli, verification, found);
  } catch (error) {
    // The findings must not be printed behind the bar.
    progress[Symbol.dispose]();
    await showUnfinished(cli, found, file.after && resume);
    throw error;
  }
  if (!cli.isJson) {
    const lines = found.lines(cli.width, cli.colour);
    await cli.print(...lines, ...describeSummary(verification.summary));
  } else {
    const summary = shownSummary(verification.summary, options);
    await cli.jsonLine({ summary });
  }
  file.done();
  return verification.summary;
}

async function collect(
  cli: Cli,
  verification: Verification,
  found: Found,
): Promise<void> {
  for await (const finding of verification) {
    if (cli.isJson) await cli.jsonLine(finding);
    else found.add(finding);
  }
}

/**
 * Shows the findings of a run that was interrupted or has failed, because they
 * are still useful.
 */
async function showUnfinished(
  cli: Cli,
  found: Found,
  resume: string | undefined,
): Promise<void> {
  if (cli.signal.reason instanceof OutputClosedError) return;
  const lines = found.lines(cli.width, cli.colour);
  if (!cli.isJson && lines.length > 0) {
    // The command's own signal is aborted already.
    const { signal } = new AbortController();
    await new Cli({ signal, isJson: false }).print("So far:", ...lines);
  }
  if (resume !== undefined) cli.note(`To continue: --resume ${resume}`);
}

/**
 * Identifies the work: only a run with the same options and output can
 * continue.
 */
function workOf(cli: Cli, options: VerifyOptions): string {
  const { schema, level, streamIds, types, since, archives } = options;
  const parts = {
    level,
    streams: streamIds?.toSorted(),
    types: types?.toSorted(),
    since,
    archives,
    isJson: cli.isJson,
  };
  return `verify ${schema} ${JSON.stringify(parts)}`;
}

function amountOf(
  { done, total, bytes, counts }: VerifyProgress,
  since: number,
): Amount {
  const { errors, warnings } = counts;
  const rate = bytes / (performance.now() - since) * 1000;
  const notes = [
    ...(bytes > 0 ? [`${formatBytes(rate)}/s`] : []),
    ...(errors > 0 ? [plural(errors, "error")] : []),
    ...(warnings > 0 ? [plural(warnings, "warning")] : []),
  ];
  return {
    done,
    total,
    ...(notes.length > 0 && { note: notes.join(", ") }),
  };
}

/** Leaves out the counts of parts that were not examined. */
function shownSummary(
  { acknowledged, unjudged, ...summary }: VerifySummary,
  { acknowledged: known, level }: VerifyOptions,
) {
  const { seconds, ...counts } = summary;
  return {
    ...counts,
    ...(known && { acknowledged }),
    ...(level === "deep" && { unjudged }),
    seconds,
  };
}
