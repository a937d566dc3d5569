/**
 * Plans repairs for findings. It plans only changes that lose nothing and guess
 * nothing. For every other finding the plan says what has to be done by hand.
 */

import {
  detail,
  type Finding,
  type FindingDetail,
} from "../verify/findings.ts";

/** A change. The undo file records it, so that it can be undone. */
export type RepairAction =
  /** Moves the latest snapshot to another block. */
  | {
    readonly kind: "point_snapshot";
    readonly from: FindingDetail;
    readonly to: FindingDetail;
  }
  /** Deletes rows that belong to no stream. */
  | { readonly kind: "delete_orphans"; readonly table: string }
  /** Deletes candidates for blocks that are already stored. */
  | { readonly kind: "delete_stale_candidates" }
  /** Deletes the minipool of an ephemeral stream. */
  | { readonly kind: "delete_minipool" }
  /** Rewrites the minipool's marker. */
  | { readonly kind: "write_marker"; readonly generation: FindingDetail }
  /** No change is possible without a guess. */
  | { readonly kind: "none" };

/** The repair of one finding. */
export interface Repair {
  /** The finding. */
  readonly finding: Finding;
  /** The change. */
  readonly action: RepairAction;
  /** The change in words, or what to do by hand. */
  readonly what: string;
}

/**
 * Plans a repair for each finding that is not a mere note. It changes nothing.
 */
export function planRepairs(findings: Iterable<Finding>): Repair[] {
  return [...findings]
    .filter(({ severity }) => severity !== "note")
    .map((finding) => ({ finding, ...planOf(finding) }));
}

type Plan = Pick<Repair, "action" | "what">;

function planOf(finding: Finding): Plan {
  const { details } = finding;
  switch (finding.finding) {
    case "snapshot_pointer":
      return planPointer(finding);
    case "orphan_blocks":
    case "orphan_minipool":
    case "orphan_candidates": {
      const table = String(details["table"]);
      const action = { kind: "delete_orphans", table } as const;
      return { action, what: `Delete its ${details["rows"]} rows in ${table}` };
    }
    case "stale_candidates":
      return {
        action: { kind: "delete_stale_candidates" },
        what: `Delete its candidates up to block ${details["last"]}`,
      };
    case "minipool_generation":
    case "minipool_hole":
      return planMarker(finding);
    case "minipool_unexpected":
      return details["kind"] === "ephemeral"
        ? {
          action: { kind: "delete_minipool" },
          what: `Delete its ${details["rows"]} minipool rows`,
        }
        : byHand(
          "An archive stream should have no events. It may be a regular " +
            `stream: see \`inspect ${finding.streamId}\``,
        );
    default:
      return byHand(advice(finding));
  }
}

function planPointer({ streamId, details }: Finding): Plan {
  const { latest, snapshot } = details;
  if (snapshot === null || snapshot === undefined) {
    return byHand(lostBlocks(streamId));
  }
  return {
    action: { kind: "point_snapshot", from: latest ?? null, to: snapshot },
    what: `Set its latest snapshot from ${latest} to ${snapshot}`,
  };
}

function planMarker({ streamId, details }: Finding): Plan {
  if (details["onlyMarker"] !== true) return byHand(lostBlocks(streamId));
  const generation = details["generation"] ?? detail(null);
  return {
    action: { kind: "write_marker", generation },
    what: `Rewrite its minipool's marker with generation ${generation}`,
  };
}

function byHand(what: string): Plan {
  return { action: { kind: "none" }, what };
}

function lostBlocks(streamId: string | null): string {
  return "The missing data are not in this database. Copy them from a replica " +
    `of the stream: \`copy ${streamId} --from-file REPLICA --replace\``;
}

function advice({ finding, streamId, details }: Finding): string {
  switch (finding) {
    case "wrong_partition":
      return `No node reads these rows. If the stream lacks them in partition ` +
        `${details["rightSuffix"]}, move them there; otherwise delete them`;
    case "schema_drift":
      return "Compare with `migrate print --schema NAME`, and correct the table " +
        "by hand";
    case "location":
      return "See if `media reconcile --bucket FILE` misses its object. If not, " +
        `\`media rehydrate ${streamId} --bucket FILE\`. If so: ` +
        lostBlocks(streamId);
    default:
      return lostBlocks(streamId);
  }
}
