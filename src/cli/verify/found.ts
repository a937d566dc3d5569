/** Findings as people read them: by how bad they are, then by kind. */

import {
  type Finding,
  findingKey,
  type FindingSeverity,
  type VerifySummary,
} from "../../operator/verify/findings.ts";
import { formatCount, formatDuration, plural } from "../format.ts";
import { type Palette, wrapped } from "../screen.ts";

/** Of each kind so many are shown: a screen is for people, `--json` for all. */
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

/** Keeps findings until they are shown: a few of each kind, however many come. */
export class Found {
  readonly #kinds: Map<string, FoundKind>;

  /** @param before What the run has kept that is continued. */
  constructor(before: readonly FoundKind[] = []) {
    this.#kinds = new Map(before.map((kind) => [nameOf(kind), kind]));
  }

  /** What has to be kept so that another run can go on. */
  get kept(): FoundKind[] {
    return [...this.#kinds.values()];
  }

  /** Takes one. */
  add(finding: Finding): void {
    const { severity, finding: kind } = finding;
    const name = nameOf({ severity, kind });
    const its = this.#kinds.get(name) ??
      { severity, kind, shown: [], count: 0 };
    this.#kinds.set(name, its);
    // A run that goes on finds again what was on pages that were not done.
    const key = findingKey(finding);
    if (its.shown.some((shown) => findingKey(shown) === key)) return;
    its.count++;
    if (its.shown.length < shownOfKind) its.shown.push(finding);
  }

  /** The lines that show them. */
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

/** An id has a line of its own: it is there to be copied. */
function describe({ streamId, what }: Finding, width: number): string[] {
  return [`  ${streamId ?? "the schema"}`, wrapped(what, width, "    ")];
}

/** What a verification comes to, in words. */
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
    `${plural(events, "event")} looked at in ${formatDuration(seconds)}`,
    ...(unjudged === 0 ? [] : [
      `${plural(unjudged, "block")} not judged: nothing in this store is as ` +
      "the protocol has it",
    ]),
  ];
}
