/** The schemas that are refused, and what to do about each. */

import { StreamStorageError } from "../../storage/errors.ts";
import { quoted } from "../../storage/foreign_text.ts";
import {
  currentVersions,
  firstVersion,
  maxPartitions,
  partitionSuffixes,
} from "./numbers.ts";
import type { SchemaState } from "./state.ts";

/** Whether all known versions are applied. */
export function isCurrent(state: SchemaState): boolean {
  return state.versions.node === currentVersions.node &&
    state.versions.own === currentVersions.own &&
    state.prepared && state.partitions !== undefined;
}

/**
 * Refuses a schema that this module must not work on or change.
 *
 * @throws {StreamStorageError} `BAD_CONFIG` with reason `schema_dirty`,
 *   `schema_version_too_old`, `schema_version_too_new` or
 *   `schema_partitions_wrong`.
 */
export function refuseUnusable(schema: string, state: SchemaState): void {
  const { node, own } = state.versions;
  const name = quoted(schema);
  const details = { schema, version: node, ownVersion: own };
  if (state.dirty) {
    throw refusal(
      "schema_dirty",
      `Schema ${name} is marked dirty at version ${node}: a migration by ` +
        "another program failed halfway. Restore a backup, or complete or " +
        "undo that version by hand and then set its schema_migrations row " +
        "to the version reached and dirty = false",
      details,
    );
  }
  if (node !== 0 && node < firstVersion) {
    throw refusal(
      "schema_version_too_old",
      `Schema ${name} is at version ${node}, an older layout: let a node ` +
        `release that knows version ${firstVersion} migrate it first`,
      { ...details, oldest: firstVersion },
    );
  }
  if (node > currentVersions.node || own > currentVersions.own) {
    throw refusal(
      "schema_version_too_new",
      `Schema ${name} is at version ${node} (own track ${own}), but this ` +
        `module knows at most ${currentVersions.node} (${currentVersions.own}): use a ` +
        "newer release of it",
      {
        ...details,
        newest: currentVersions.node,
        newestOwn: currentVersions.own,
      },
    );
  }
  if (node !== 0 && state.partitions !== undefined) {
    refusePartitions(schema, state.suffixes, state.partitions);
  }
}

/**
 * Refuses a number of partitions for which tables are missing: streams would be
 * looked up in the wrong tables.
 */
function refusePartitions(
  schema: string,
  suffixes: readonly string[],
  partitions: number,
): void {
  const present = new Set(suffixes);
  const fits = partitions >= 1 && partitions <= maxPartitions &&
    partitionSuffixes(partitions).every((suffix) => present.has(suffix));
  if (fits) return;
  throw refusal(
    "schema_partitions_wrong",
    `Schema ${quoted(schema)} has partition tables with ${present.size} ` +
      `suffixes, which does not fit the ${partitions} partitions in its ` +
      "table settings: correct num_partitions there",
    { schema, partitions, suffixes: present.size },
  );
}

/**
 * Refuses to choose the number of partitions for a schema that has its tables
 * but lost its settings row, unless the tables are those of exactly this number
 * (or one more, as old nodes made them).
 *
 * @throws {StreamStorageError} `BAD_CONFIG`, reason `schema_partitions_wrong`.
 */
export function refuseUnknownPartitions(
  schema: string,
  state: SchemaState,
  partitions: number,
): void {
  if (state.versions.node === 0 || state.partitions !== undefined) return;
  refusePartitions(schema, state.suffixes, partitions);
  if (state.suffixes.length <= partitionSuffixes(partitions + 1).length) return;
  throw refusal(
    "schema_partitions_wrong",
    `Schema ${quoted(schema)} has no row in its table settings, but ` +
      `more partition tables than ${partitions} partitions need: insert the ` +
      "row with the right num_partitions",
    { schema, partitions, suffixes: state.suffixes.length },
  );
}

/**
 * The error of a check on a schema that a migration would change.
 *
 * @returns `BAD_CONFIG`, reason `schema_not_current`.
 */
export function notCurrent(
  schema: string,
  state: SchemaState,
): StreamStorageError {
  const { node, own } = state.versions;
  return refusal(
    "schema_not_current",
    `Schema ${quoted(schema)} is at version ${node} (own track ` +
      `${own}), but needs ${currentVersions.node} (${currentVersions.own}): run ` +
      '`migrate up` or open with migrate: "apply"',
    {
      schema,
      version: node,
      ownVersion: own,
      needed: currentVersions.node,
      neededOwn: currentVersions.own,
    },
  );
}

/** A `BAD_CONFIG` error about a schema. */
export function refusal(
  reason: string,
  message: string,
  details: Record<string, unknown>,
): StreamStorageError {
  return new StreamStorageError({
    code: "BAD_CONFIG",
    message,
    details: { reason, ...details },
  });
}

/**
 * Checks the requested number of partitions.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`, reason `bad_partitions`.
 */
export function assertPartitions(partitions: number): void {
  if (
    Number.isInteger(partitions) && partitions >= 1 &&
    partitions <= maxPartitions
  ) return;
  throw refusal(
    "bad_partitions",
    `The number of partitions must be an integer from 1 to ${maxPartitions}, ` +
      `received ${partitions}`,
    { partitions },
  );
}
