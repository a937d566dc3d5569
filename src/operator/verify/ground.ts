/** The means that the parts of a verification share. */

import type { Bound, ResultsOf } from "../../database/statement.ts";
import type { Catalog } from "../../postgres/catalog.ts";
import { partitionSuffix, type StreamId } from "../../storage/stream_id.ts";
import type { ArchivePolicy } from "./archives.ts";
import {
  type OptionalTables,
  selectFactsAfter,
  selectFactsOf,
  selectGaps,
  selectWithoutRows,
} from "./facts_sql.ts";
import type { JudgeContext } from "./judge.ts";

/** The statements that depend on which tables exist. */
export type Templates = ReturnType<typeof templatesFor>;

/** The schema that is verified, and the means to read it. */
export interface Ground {
  catalog: Catalog;
  /** Runs statements in one transaction, and so on one snapshot. */
  read: <const B extends readonly Bound[]>(bound: B) => Promise<ResultsOf<B>>;
  archives: ArchivePolicy;
  templates: { regular: Templates; media: Templates };
}

/**
 * Makes the templates once for all partitions, because a catalog caches
 * statements by template.
 */
export function templatesFor(optional: OptionalTables) {
  return {
    factsAfter: selectFactsAfter(optional),
    factsOf: selectFactsOf(optional),
    gaps: selectGaps(optional),
    withoutRows: selectWithoutRows(optional),
  };
}

/** Returns the statements for a partition's tables. */
export function templatesAt(
  { templates }: Pick<Ground, "templates">,
  suffix: string,
): Templates {
  return suffix.startsWith("m") ? templates.media : templates.regular;
}

/** The context in which the rows of a partition's tables are judged. */
export function contextOf(
  { catalog, archives }: Pick<Ground, "catalog" | "archives">,
  streamId: StreamId,
  suffix: string,
): JudgeContext {
  const rightSuffix = partitionSuffix(streamId, catalog.partitions);
  return { suffix, rightSuffix, archives };
}
