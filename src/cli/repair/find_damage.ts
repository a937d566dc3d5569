/** The findings to repair, from a new verification or from a file. */

import type { Finding } from "../../operator/verify/findings.ts";
import { verify } from "../../operator/verify/verify.ts";
import { streamType } from "../../storage/stream_id.ts";
import type { Cli } from "../cli.ts";
import { plural } from "../format.ts";
import type { StorePlace } from "../store_options.ts";
import { readFindings } from "../verify/findings_file.ts";
import { scopeOf, type ScopeOptions } from "../verify/scope.ts";

/**
 * The most findings of one run. If there are more, the next run repairs the
 * rest.
 */
const maxFindings = 100_000;

/** Returns errors and warnings. */
export async function findDamage(
  cli: Cli,
  place: StorePlace,
  options: ScopeOptions & { findings?: string | undefined },
): Promise<Finding[]> {
  const found = options.findings === undefined
    ? verifyNow(cli, place, options)
    : chosen(await readFindings(options.findings), options);
  const damage: Finding[] = [];
  for await (const finding of found) {
    if (finding.severity === "note") continue;
    if (damage.length === maxFindings) {
      cli.note(
        `There are more findings; this run covers the first ${maxFindings}`,
      );
      break;
    }
    damage.push(finding);
  }
  return damage;
}

async function* verifyNow(
  cli: Cli,
  place: StorePlace,
  options: ScopeOptions,
): AsyncGenerator<Finding> {
  using progress = cli.progress("Verifying", "partitions");
  yield* verify({
    ...place,
    ...scopeOf(options),
    signal: cli.signal,
    onProgress: ({ done, total, counts: { errors, warnings } }) =>
      progress.at({ done, total, note: plural(errors + warnings, "finding") }),
  });
}

function chosen(
  findings: readonly Finding[],
  { stream, type }: ScopeOptions,
): Finding[] {
  return findings.filter(({ streamId }) =>
    (stream === undefined ||
      (streamId !== null && stream.includes(streamId))) &&
    (type === undefined ||
      (streamId !== null && type.includes(streamType(streamId))))
  );
}
