/** Shows findings to people, ordered by severity, then by kind. */

import {
  type Finding,
  findingKey,
  type FindingSeverity,
  type VerifySummary,
} from "../../operator/verify/findings.ts";
import { formatCount, formatDuration, plural } from "../format.ts";
import { type Palette, wrapped } from "../screen.ts";

/**
 * The number of findings of each kind that are shown; `--json` prints all of
 * them.
 */
const shownOfKind = 10;

const severities: readonly FindingSeverity[] = ["error", "warning", "note"];

/** Findings of one kind. */
export interface FoundKind {
  severity: FindingSeverity;
  kind: string;
  /** The first ones. */
  shown: Finding[];
  count: number;
}

/** Keeps findings until they are shown, but only a few of each kind. */
export class Found {
  readonly #kinds: Map<string, FoundKind>;

  /** @param before What the earlier run, which this one continues, has kept. */
  constructor(before: readonly FoundKind[] = []) {
    this.#kinds = new Map(before.map((kind) => [nameOf(kind), kind]));
  }

  /** The state from which another run can continue. */
  get kept(): FoundKind[] {
    return [...this.#kinds.values()];
  }

  /** Adds a finding. */
  add(finding: Finding): void {
    const { severity, finding: kind } = finding;
    const name = nameOf({ severity, kind });
    const its = this.#kinds.get(name) ??
      { severity, kind, shown: [], count: 0 };
    this.#kinds.set(name, its);
    // A resumed run repeats unfinished pages, and finds their findings again.
    const key = findingKey(finding);
    if (its.shown.some((shown) => findingKey(shown) === key)) return;
    its.count++;
    if (its.shown.length < shownOfKind) its.shown.push(finding);
  }

  /** The lines that show the findings. */
  lines(width: number, colour: Palette): string[] {
    const paint = {
      error: colour.red,
      warning: colour.yellow,
      note: colour.dim,
    };
    return severities.flatMap((severity) =>
      this.kept.filter((kind) => kind.severity === severity)
        .sort((a, b) => a.kind < b.kind ? -1 : 1)
        .flatMap(({ kind, shown, count }) => [
          paint[severity](`${severity} ${kind}`) +
          (count === 1 ? "" : `, ${formatCount(count)} times`),
          ...shown.flatMap((finding) => describe(finding, width)),
          ...(count === shown.length
            ? []
            : [`  and ${formatCount(count - shown.length)} more, see --json`]),
          "",
        ])
    );
  }
}

function nameOf({ severity, kind }: Pick<FoundKind, "severity" | "kind">) {
  return `${severity} ${kind}`;
}

/** An id has a line of its own, so that users can copy it. */
function describe({ streamId, what }: Finding, width: number): string[] {
  return [`  ${streamId ?? "the schema"}`, wrapped(what, width, "    ")];
}

/** Describes the totals of a verification in words. */
export function describeSummary(summary: Readonly<VerifySummary>): string[] {
  const { streams, blocks, events, seconds } = summary;
  const { errors, warnings, notes, acknowledged, unjudged } = summary;
  const known = acknowledged > 0
    ? `, ${formatCount(acknowledged)} acknowledged`
    : "";
  return [
    `${plural(errors, "error")}, ${plural(warnings, "warning")}, ` +
    `${plural(notes, "note")}${known}`,
    `${plural(streams, "stream")}, ${plural(blocks, "block")}, ` +
    `${plural(events, "event")} examined in ${formatDuration(seconds)}`,
    ...(unjudged === 0 ? [] : [
      `${plural(unjudged, "block")} not judged: nothing in this store is as ` +
      "the protocol has it",
    ]),
  ];
}
