/** What the parts of a verification work with. */

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

/** The statements that differ with the tables that are there. */
export type Templates = ReturnType<typeof templatesFor>;

/** What is verified, and how it is read. */
export interface Ground {
  catalog: Catalog;
  /** Runs statements as one transaction, so on one snapshot. */
  read: <const B extends readonly Bound[]>(bound: B) => Promise<ResultsOf<B>>;
  archives: ArchivePolicy;
  templates: { regular: Templates; media: Templates };
}

/** Made once for all partitions: a catalog keeps statements by their template. */
export function templatesFor(optional: OptionalTables) {
  return {
    factsAfter: selectFactsAfter(optional),
    factsOf: selectFactsOf(optional),
    gaps: selectGaps(optional),
    withoutRows: selectWithoutRows(optional),
  };
}

/** Those for a partition's tables. */
export function templatesAt(
  { templates }: Pick<Ground, "templates">,
  suffix: string,
): Templates {
  return suffix.startsWith("m") ? templates.media : templates.regular;
}

/** In which light the rows of a partition's tables are judged. */
export function contextOf(
  { catalog, archives }: Pick<Ground, "catalog" | "archives">,
  streamId: StreamId,
  suffix: string,
): JudgeContext {
  const rightSuffix = partitionSuffix(streamId, catalog.partitions);
  return { suffix, rightSuffix, archives };
}
