/** Runs a verification: shows how far it is, what it finds, and can go on. */

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

/** What is kept for a run that goes on. */
interface Kept {
  state: VerifyState;
  found: FoundKind[];
}

/**
 * Verifies and prints what was found: as JSON at once, for people at the end.
 *
 * @param resume The file in which is kept how far it is.
 */
export async function look(
  cli: Cli,
  options: VerifyOptions,
  resume: string | undefined,
): Promise<VerifySummary> {
  await using file = await ResumeFile.open<Kept>(resume, workOf(cli, options));
  const kept = file.after;
  const found = new Found(kept?.found);
  using progress = cli.progress("Verifying", "partitions", {
    done: kept?.state.done.length ?? 0,
  });
  const since = performance.now();
  const verification = verify({
    ...options,
    ...(kept && { resume: kept.state }),
    onProgress: (amount) => {
      progress.at(amountOf(amount, since));
      file.at({ state: amount.state, found: found.kept });
    },
  });
  try {
    await take(cli, verification, found);
  } catch (error) {
    // What is printed now must not stand behind the bar.
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

async function take(
  cli: Cli,
  verification: Verification,
  found: Found,
): Promise<void> {
  for await (const finding of verification) {
    if (cli.isJson) await cli.jsonLine(finding);
    else found.add(finding);
  }
}

/** It was interrupted or has failed: what was found by then is worth something. */
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
  if (resume !== undefined) cli.note(`To go on: --resume ${resume}`);
}

/** Only a run that looks at the same, and prints it so, can go on. */
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

/** Counts of what was not asked for are left out. */
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
